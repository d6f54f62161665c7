/**
 * Somebody who may write to the folder that `type=local` exports into swaps a folder in it for a symlink, over and over:
 * nothing is written or removed where the symlink leads.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runTask } from '../../src/workers/pool.ts';

let dir: string;
const names = () => readdirSync(join(dir, 'victim'), { recursive: true }).sort();
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-race-'));
  for (const folder of ['tree/sub/deep', 'victim/deep', 'out/sub'])
    mkdirSync(join(dir, folder), { recursive: true });
  for (let i = 0; i < 60; i++) {
    writeFileSync(join(dir, `tree/sub/f${i}`), 'of the build');
    writeFileSync(join(dir, `tree/sub/deep/g${i}`), 'of the build');
  }
  for (const file of ['victim/kept', 'victim/deep/kept']) writeFileSync(join(dir, file), 'of the host');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test.each([false, true])('with mode=delete: %s', async (remove) => {
  const before = names();
  const script =
    'while :; do mv sub x; ln -s ../victim sub; rm sub; mv x sub || mkdir -p sub; rm -rf x; done 2>/dev/null';
  const swapper = spawn('sh', ['-c', script], { cwd: join(dir, 'out'), stdio: 'ignore' });
  const args = {
    spec: { kind: 'layers' as const, dirs: [join(dir, 'tree')] },
    dest: join(dir, 'out'),
    remove,
  };
  let tries = 0;
  try {
    for (const end = Date.now() + 3000; Date.now() < end || tries < 20; tries++) {
      // It fails when the folder is none at that moment.
      await runTask('fs.export', args).catch(() => {});
      expect(names()).toEqual(before);
    }
  } finally {
    swapper.kill('SIGKILL');
  }
});
