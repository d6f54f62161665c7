/** Entry of the threads of the command's bundle: loads their tasks with the compiled code that was kept. */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { getEnvironmentData } from 'node:worker_threads';
import { codeOfThreads, loadKept } from './code-cache.ts';

const here = fileURLToPath(new URL('./', import.meta.url));
const place = getEnvironmentData(codeOfThreads);

if (typeof place === 'string') loadKept(here, 'tasks.cjs', place, 'pause');
else createRequire(import.meta.url)('./tasks.cjs');
