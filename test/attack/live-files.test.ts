/**
 * A container swaps folders for symlinks to the host while its frontend reads files of it, and starts processes as users
 * of its /etc/passwd: what is read is the container's or nothing.
 */
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
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { withLiveView } from '../../src/fs/live-view.ts';
import { openView } from '../../src/fs/open.ts';
import { readFileIn, statFollow } from '../../src/fs/read.ts';
import { openEntry } from '../../src/fs/real.ts';
import { resolvePath } from '../../src/fs/resolve.ts';
import type { FsEntry } from '../../src/fs/view.ts';
import { makedev, mknod, S_IFCHR, S_IFIFO } from '../../src/linux/libc.ts';
import { closeFd } from '../../src/linux/open-in.ts';
import { Harness } from '../executor/harness.ts';

let dir: string;
let h: Harness;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-live-'));
  h = new Harness();
});
afterAll(() => {
  h.close();
  rmSync(dir, { recursive: true, force: true });
});

/** What is swapped between two looks at it may be an error, too. */
function unlessSwapped(look: () => void): void {
  try {
    look();
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException;
    if (!['unavailable', 'EINVAL', 'ENOENT', 'ELOOP', 'ENOTDIR', 'not-found'].includes(code ?? '')) throw err;
  }
}

/** Runs a step that swaps `sub`, with a file in it, for a symlink to a folder of the host, and `body` beside it. */
async function swapping(body: (tree: string) => void, seconds = 2): Promise<void> {
  const tree = mkdtempSync(join(dir, 'tree-'));
  const host = mkdtempSync(join(dir, 'host-'));
  mkdirSync(join(tree, 'sub/in'), { recursive: true });
  mkdirSync(join(host, 'in'));
  writeFileSync(join(tree, 'sub/in/file'), 'of the container');
  writeFileSync(join(host, 'in/file'), 'of the host');
  writeFileSync(join(host, 'in/host-file'), '');
  const over = new AbortController();
  const script = `cd /c; while :; do mv sub x; ln -s ${host} sub; rm sub; mv x sub; done`;
  const source = { type: 'host' as const, path: tree };
  const mounts = [{ dest: '/c', readonly: false, source }];
  const swapper = h.run(script, { mounts }, over.signal).catch(() => {});
  try {
    while (!readdirSync(tree).includes('x')) await sleep(1);
    for (const end = Date.now() + seconds * 1000; Date.now() < end; ) {
      for (let i = 0; i < 200; i++) unlessSwapped(() => body(tree));
      await sleep(0);
    }
  } finally {
    over.abort();
    await swapper;
  }
}

test('files and folders of a running container are its own', async () => {
  let seen = 0;
  await swapping((tree) => {
    const [text, names, size] = withLiveView({ kind: 'layers', dirs: [tree] }, (view) => {
      const at = statFollow(view, '/sub/in/file');
      const folder = resolvePath(view, '/sub/in', { followLast: true });
      const list = view.lstat(folder)?.type === 'dir' ? view.readdir(folder).map(({ name }) => name) : [];
      return [readFileIn(view, '/sub/in/file')?.toString(), list, at?.size] as const;
    });
    if (text !== undefined) seen++;
    expect([undefined, 'of the container']).toContain(text);
    expect([[], ['file']]).toContainEqual(names);
    expect([undefined, 'of the container'.length]).toContain(size);
  });
  expect(seen).toBeGreaterThan(0);
});

test('a file that has become a device, a fifo or a symlink is not opened', () => {
  const tree = mkdtempSync(join(dir, 'became-'));
  const file = join(tree, 'file');
  const become: Record<string, () => void> = {
    device: () => mknod(file, S_IFCHR | 0o666, makedev(1, 5)),
    fifo: () => mknod(file, S_IFIFO | 0o666, 0),
    symlink: () => symlinkSync('/etc/passwd', file),
  };
  for (const make of Object.values(become)) {
    writeFileSync(file, 'a file');
    const entry = openView({ kind: 'layers', dirs: [tree] }).lstat('/file') as FsEntry;
    withLiveView({ kind: 'layers', dirs: [tree] }, (view) => {
      const live = view.lstat('/file') as FsEntry;
      rmSync(file);
      make();
      for (const each of [entry, live]) expect(() => openEntry(each)).toThrow(/ELOOP/);
    });
    rmSync(file);
  }
});

test('a file that was looked at is opened where it was, or not at all', async () => {
  await swapping((tree) => {
    const entry = openView({ kind: 'layers', dirs: [tree] }).lstat('/sub/in/file');
    // Its name may have led to the host's: its bytes do not.
    for (let i = 0; entry !== undefined && i < 5; i++) {
      const fd = openEntry(entry);
      const text = readFileSync(fd, 'utf8');
      closeFd(fd);
      expect(text).toBe('of the container');
    }
  }, 1);
});
