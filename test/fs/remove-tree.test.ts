/** Trees are removed whatever is in them, and whatever somebody does to them meanwhile. */
import { execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { removeTree } from '../../src/linux/remove-tree.ts';
import { treeUsage } from '../../src/store/local/tree.ts';

let dir: string;
let victim: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-remove-'));
  victim = join(dir, 'victim');
  mkdirSync(join(victim, 'deep/er'), { recursive: true });
  for (let i = 0; i < 50; i++) writeFileSync(join(victim, `deep/er/${i}`), 'of the host');
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('a file, a symlink, a folder with anything in it, and nothing', () => {
  const tree = join(dir, 'tree');
  mkdirSync(join(tree, 'a/b/c'), { recursive: true });
  writeFileSync(join(tree, 'a/file'), 'x');
  writeFileSync(Buffer.concat([Buffer.from(`${tree}/a/`), Buffer.from([0xff, 0xfe])]), 'no UTF-8');
  symlinkSync(victim, join(tree, 'a/b/link'));
  execFileSync('mkfifo', [join(tree, 'a/fifo')]);
  removeTree(tree);
  expect(existsSync(tree)).toBe(false);
  symlinkSync(victim, tree);
  removeTree(tree);
  expect(readdirSync(dir)).toEqual(['victim']);
  removeTree(tree);
  removeTree(join(tree, 'not/there'));
  expect(readdirSync(join(victim, 'deep/er'))).toHaveLength(50);
});

test('folders in folders, deeper than any path is long', () => {
  const tree = join(dir, 'deep');
  const chain = Array.from({ length: 140 }, () => 'folder-of-the-deep-tree').join('/');
  for (const top of [tree, join(dir, 'deeper')]) mkdirSync(join(top, chain), { recursive: true });
  renameSync(join(dir, 'deeper'), join(tree, chain, 'deeper'));
  writeFileSync(join(tree, chain, 'file'), '');
  expect(treeUsage({ dir: tree }).inodes).toBeGreaterThan(140);
  removeTree(tree);
  expect(existsSync(tree)).toBe(false);
});

test('nothing outside, while somebody swaps folders in it for symlinks', async () => {
  const tree = join(dir, 'swapped');
  const script = 'cd "$1"; while :; do mv deep x; ln -s "$2" deep; rm deep; mv x deep; done 2>/dev/null';
  const end = Date.now() + 2000;
  for (let round = 0; Date.now() < end || round < 3; round++) {
    mkdirSync(join(tree, 'deep/er'), { recursive: true });
    for (let i = 0; i < 50; i++) writeFileSync(join(tree, `deep/er/${i}`), '');
    const swapper = spawn('sh', ['-c', script, 'sh', tree, join(victim, 'deep')], { stdio: 'ignore' });
    const ended = new Promise((resolve) => swapper.once('exit', resolve));
    await new Promise((resolve) => setTimeout(resolve, 10));
    try {
      treeUsage({ dir: tree });
      removeTree(tree);
    } catch {
      // Something was made in it again and again.
    } finally {
      swapper.kill('SIGKILL');
      await ended;
    }
    removeTree(tree);
    expect(readdirSync(join(victim, 'deep/er'))).toHaveLength(50);
  }
});
