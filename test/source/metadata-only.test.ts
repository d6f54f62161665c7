/** A client's folder of which only the list comes, in one file, and the few files that match patterns. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Stat, StatSchema } from '../../src/pb/fsutil/wire_pb.js';
import { SessionManager } from '../../src/session/manager.ts';
import { localSource } from '../../src/source/local.ts';
import { closePool } from '../../src/workers/pool.ts';
import { runSource } from '../kit/run-op.ts';
import { join as joinSession } from '../kit/session/duplex-pair.ts';
import { SessionClient } from '../kit/session/session-client.ts';
import { treeOf } from '../kit/tree.ts';
import { Workshop } from '../kit/workshop.ts';

let shop: Workshop;
let dir: string;
const manager = new SessionManager();
beforeAll(async () => {
  shop = new Workshop();
  await shop.open();
});
afterAll(async () => {
  manager.close();
  await shop.remove();
  await closePool();
});

const list = '.fsutil-metadata';
const file = (path: string, text: string) => {
  mkdirSync(dirname(join(dir, path)), { recursive: true });
  writeFileSync(join(dir, path), text);
};

/** Descriptions, each with its length in 4 bytes before it. */
function described(bytes: Buffer): Stat[] {
  const found: Stat[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    found.push(fromBinary(StatSchema, bytes.subarray(at + 4, at + 4 + length)));
    at += 4 + length;
  }
  return found;
}

describe.each(['a client elsewhere', 'a client on this host'])('%s', (where) => {
  const get = async (attrs: Record<string, string>) => {
    const client = new SessionClient({ dirs: { context: dir }, sharedKey: dir });
    const session = joinSession(manager, client);
    const there = async () => ({ kind: 'folder' as const, dir });
    const local = where === 'a client elsewhere' ? (name: string) => session.local(name) : there;
    try {
      const options = { session: { id: session.id, local } };
      const { refs, map, release } = await runSource(shop, localSource, 'local://context', attrs, options);
      const view = await shop.view(refs[0]);
      const { [list]: _, ...rest } = Object.fromEntries(
        Object.entries(treeOf(view)).map(([path, text]) => [path.slice(1), text]),
      );
      const entry = view.lstat(`/${list}`);
      const stats = entry === undefined ? [] : described(readFileSync(entry.hostPath));
      await release();
      return { files: rest, stats, mode: entry?.mode, key: map.digest };
    } finally {
      client.close();
    }
  };
  const only = (...patterns: string[]) => ({
    'local.metadatatransfer': 'true',
    'local.metadatatransferexclude': JSON.stringify(patterns),
  });

  test('all is described; what matches comes, in the folders it is in', async () => {
    dir = mkdtempSync(join(tmpdir(), 'drydock-list-'));
    try {
      for (const path of [
        'data',
        'dir/file1',
        'dir/file2',
        'dir/sub/bar1',
        'dir/sub/bar2',
        'dir/sub2/bar3',
      ]) {
        file(path, path);
      }
      file('foo', 'foo!');
      symlinkSync('/etc/passwd', join(dir, list));
      const first = await get(only('dir/**/*1', 'foo'));
      expect(first.files).toEqual({
        dir: '/',
        'dir/file1': 'dir/file1',
        'dir/sub': '/',
        'dir/sub/bar1': 'dir/sub/bar1',
        foo: 'foo!',
      });
      const all = 'data dir dir/file1 dir/file2 dir/sub dir/sub/bar1 dir/sub/bar2 dir/sub2 dir/sub2/bar3 foo';
      expect(first.stats.map(({ path }) => path).join(' ')).toBe(all);
      expect(first.stats.at(-1)).toMatchObject({ path: 'foo', size: 4n, mode: 0o644 });
      expect(first.mode).toBe(0o644);
      // As it was: again the same. Then something changes.
      expect(await get(only('dir/**/*1', 'foo'))).toEqual(first);
      rmSync(join(dir, 'dir/sub'), { recursive: true });
      file('dir/file1', 'updated');
      const second = await get(only('dir/**/*1', 'foo'));
      expect(second.files).toEqual({ dir: '/', 'dir/file1': 'updated', foo: 'foo!' });
      expect(second.stats).toHaveLength(7);
      // Other patterns are another result, and no patterns are none of the files.
      const third = await get({ 'local.metadatatransfer': '1', 'local.includepattern': '["dir"]' });
      expect(third.files).toEqual({});
      expect(third.stats.map(({ path }) => path)).toEqual([
        'dir',
        'dir/file1',
        'dir/file2',
        'dir/sub2',
        'dir/sub2/bar3',
      ]);
      expect(third.key).not.toBe(second.key);
      // Patterns alone mean nothing.
      const { 'local.metadatatransferexclude': patterns } = only('foo');
      const whole = await get({
        'local.metadatatransferexclude': patterns!,
        'local.excludepatterns': `["${list}"]`,
      });
      expect(whole.files).toMatchObject({ data: 'data', 'dir/file2': 'dir/file2' });
      await expect(get({ 'local.metadatatransfer': 'maybe' })).rejects.toMatchObject({
        code: 'invalid',
        hop: 'llb',
      });
      await expect(get(only('['))).rejects.toMatchObject({ code: 'invalid' });
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
