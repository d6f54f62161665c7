/** A program for kill.test.ts: runs the step described in <dir>/spec.json until it is killed. Another is to come. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createExecutor } from '../../src/executor/executor.ts';

const [, , dir = '', runtime] = process.argv;
const spec = JSON.parse(readFileSync(join(dir, 'spec.json'), 'utf8'));
const executor = createExecutor({ runDir: join(dir, 'run'), stateDir: join(dir, 'state'), runtime });
const io = {
  stdout: (c: Buffer) => void process.stdout.write(c),
  stderr: (c: Buffer) => void process.stderr.write(c),
};
executor.expect(spec.network);
await executor.run(spec, io, new AbortController().signal);
