/** Entry of the command's bundle: turns V8's compile cache on, which halves the start, before the rest is loaded. */
import { createRequire, enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

// Beside the bundle, where only its owner can write; elsewhere Node goes without.
enableCompileCache(fileURLToPath(new URL('./.compile-cache', import.meta.url)));
createRequire(import.meta.url)('./cli.cjs');
