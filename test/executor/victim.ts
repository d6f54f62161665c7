/** A program for kill.test.ts: runs the step described in <dir>/spec.json until it is killed. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createExecutor } from '../../src/executor/executor.ts';

const dir = process.argv[2] ?? '';
const spec = JSON.parse(readFileSync(join(dir, 'spec.json'), 'utf8'));
const executor = createExecutor({ runDir: join(dir, 'run'), stateDir: join(dir, 'state') });
const io = {
  stdout: (c: Buffer) => void process.stdout.write(c),
  stderr: (c: Buffer) => void process.stderr.write(c),
};
await executor.run(spec, io, new AbortController().signal);
