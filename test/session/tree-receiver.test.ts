/** Whatever a client lists, in whatever order, onto whatever is there: nothing outside of the folder changes. */
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { array, assert, constantFrom, integer, property, record } from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DrydockError, errnoCode } from '../../src/errors/error.ts';
import { goMode } from '../../src/session/fsutil/mode.ts';
import type { Stat } from '../../src/session/fsutil/packet.ts';
import { TreeReceiver } from '../../src/session/fsutil/tree-receiver.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-receiver-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const names = ['a', 'b', 'out', '..', '.', '', 'x'.repeat(300), 'a\0', '-'];
const path = array(constantFrom(...names), { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
const targets = constantFrom(
  '..',
  '../outside',
  '../outside/secret',
  '/etc',
  'a',
  'b',
  'out/secret',
  '',
  '.',
);
const entry = record({
  path,
  type: constantFrom('file', 'file', 'dir', 'dir', 'symlink', 'fifo', 'socket'),
  permissions: integer({ min: 0, max: 0o7777 }),
  size: constantFrom(0, 1, 5),
  link: targets,
  hard: integer({ min: 0, max: 3 }),
});
/** Most lists in order, so that more than the first entry counts. */
const lists = array(entry, { maxLength: 12 }).map((list) =>
  list.toSorted((a, b) => (a.path < b.path ? -1 : 1)),
);

test('hostile lists', () => {
  assert(
    property(lists, lists, constantFrom('mirror', 'merge', 'fresh'), (before, list, mode) => {
      const root = mkdtempSync(join(dir, 'run-'));
      const dest = join(root, 'dest');
      mkdirSync(join(root, 'outside'));
      writeFileSync(join(root, 'outside/secret'), 'secret');
      mkdirSync(dest);
      // As an earlier client could have left it.
      symlinkSync('../outside', join(dest, 'out'));
      for (const plan of [before, list]) {
        const receiver = new TreeReceiver(dest, { mode, owners: false });
        try {
          for (const [id, { path, type, permissions, size, link, hard }] of plan.entries()) {
            const stat: Stat = {
              path,
              mode: goMode(type as 'file', permissions),
              size,
              mtimeNs: 5n,
              link: type === 'symlink' || (type === 'file' && hard === 0) ? link : '',
              ...{ uid: 0, gid: 0, devmajor: 0, devminor: 0, xattrs: [] },
            };
            if (!receiver.stat(id, stat)) continue;
            receiver.data(id, [Buffer.from('evil')]);
            receiver.dataEnd(id);
          }
          receiver.statsEnd();
          receiver.finish();
        } catch (err) {
          // System errors become the client's fault further up.
          expect(err instanceof DrydockError || errnoCode(err) !== undefined).toBe(true);
        } finally {
          receiver.abort();
        }
      }
      expect(readdirSync(root).toSorted()).toEqual(['dest', 'outside']);
      expect(readdirSync(join(root, 'outside'))).toEqual(['secret']);
      expect(readFileSync(join(root, 'outside/secret'), 'utf8')).toBe('secret');
      rmSync(root, { recursive: true });
    }),
    { numRuns: 400 },
  );
});

test('careful: a file stays until the new one is whole, and a FIFO is not replaced', () => {
  writeFileSync(join(dir, 'a'), 'old');
  execFileSync('mkfifo', ['pipe'], { cwd: dir });
  const stat = (path: string): Stat => ({
    ...{ path, mode: goMode('file', 0o644), uid: 0, gid: 0, size: 3, mtimeNs: 1n, link: '' },
    ...{ devmajor: 0, devminor: 0, xattrs: [] },
  });
  const broken = new TreeReceiver(dir, { mode: 'merge', owners: false, careful: true });
  expect(broken.stat(0, stat('a'))).toBe(true);
  broken.data(0, [Buffer.from('n')]);
  expect(() => broken.stat(1, stat('pipe'))).toThrow('pipe is not replaced: it is a FIFO');
  broken.abort();
  expect(readdirSync(dir).toSorted()).toEqual(['a', 'pipe']);
  expect(readFileSync(join(dir, 'a'), 'utf8')).toBe('old');
  const whole = new TreeReceiver(dir, { mode: 'merge', owners: false, careful: true });
  whole.stat(0, stat('a'));
  whole.statsEnd();
  whole.data(0, [Buffer.from('new')]);
  whole.dataEnd(0);
  whole.finish();
  expect(readFileSync(join(dir, 'a'), 'utf8')).toBe('new');
});
