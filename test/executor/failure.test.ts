/** What is told of a runtime that fails itself. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { failureOf } from '../../src/executor/failure.ts';

function failing(msg: string): () => number {
  const bundle = mkdtempSync(join(tmpdir(), 'drydock-failure-'));
  onTestFinished(() => rmSync(bundle, { recursive: true }));
  writeFileSync(join(bundle, 'runtime.log'), `${JSON.stringify({ level: 'error', msg })}\n`);
  return () => failureOf(bundle, 1, { asked: { ulimits: [] } });
}

test.each([
  'runc run failed: unable to start container process: error during container init: unable to store init state: %!w(<nil>)',
  'runc run failed: open /root/work/1/init.pid: no space left on device',
])('a runtime that cannot write has no space left: %s', (msg) => {
  expect(failing(msg)).toThrow(
    expect.objectContaining({ code: 'exhausted', message: expect.stringContaining('no space left') }),
  );
});

test('other failures are told in the runtime’s words', () => {
  expect(failing('unable to freeze')).toThrow("the container's runtime: unable to freeze");
});
