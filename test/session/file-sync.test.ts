/** Files from the client (FileSync): what a synced folder is like, what travels, and what hostile clients get. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openView } from '../../src/fs/open.ts';
import { lgetxattr, lsetxattr, mknod, S_IFIFO } from '../../src/linux/libc.ts';
import { StatSchema, Packet_PacketType as Type } from '../../src/pb/fsutil/wire_pb.js';
import { TreeReceiver } from '../../src/session/fsutil/tree-receiver.ts';
import { SessionManager } from '../../src/session/manager.ts';
import { tarOf } from '../kit/images.ts';
import { join } from '../kit/session/duplex-pair.ts';
import { pack } from '../kit/session/files.ts';
import type { Call } from '../kit/session/grpc-server.ts';
import { SessionClient, type SessionClientOptions } from '../kit/session/session-client.ts';
import { treeOf } from '../kit/tree.ts';

const method = '/moby.filesync.v1.FileSync/DiffCopy';
let dir: string;
let source: string;
let dest: string;
let manager: SessionManager;
const open: SessionClient[] = [];
beforeEach(() => {
  dir = mkdtempSync(joinPath(tmpdir(), 'drydock-sync-'));
  source = joinPath(dir, 'source');
  dest = joinPath(dir, 'dest');
  mkdirSync(source);
  manager = new SessionManager();
});
afterEach(() => {
  for (const client of open.splice(0)) client.close();
  manager.close();
  rmSync(dir, { recursive: true, force: true });
});

const connect = (options: SessionClientOptions = {}) => {
  const client = new SessionClient({ dirs: { context: source }, ...options });
  open.push(client);
  return { client, session: join(manager, client) };
};

interface SyncOptions {
  name?: string;
  select?: {
    includes?: string[];
    excludes?: string[];
    followPaths?: string[];
    afresh?: boolean;
    listing?: string;
  };
  signal?: AbortSignal;
  report?: (id: string, state: { current: number; total: number; done?: boolean }) => void;
}
const provider = async (session: ReturnType<typeof join>, name = 'context') => {
  const found = await session.local(name);
  if (found?.kind !== 'sync') throw new Error('it serves no files');
  return found;
};
const sync = async (session: ReturnType<typeof join>, options: SyncOptions = {}) => {
  const { name, select = {}, signal = new AbortController().signal, report = () => {} } = options;
  return (await provider(session, name)).sync(dest, select, report, signal);
};
const tree = (at = dest) => treeOf(openView({ kind: 'folder', dir: at, rootOwned: false }));
const write = (path: string, text: string | Buffer, root = source) => {
  mkdirSync(joinPath(root, path, '..'), { recursive: true });
  writeFileSync(joinPath(root, path), text);
};

/** A client that sends these packets, whatever it is told. */
const scripted = (...packets: Uint8Array[]) =>
  connect({
    handlers: {
      [method]: async (call: Call) => {
        for (const packet of packets) await call.send(packet);
        for await (const _ of call.messages) if (call.stream.destroyed) return;
      },
    },
  });
const stat = (path: string, more: Partial<{ mode: number; size: bigint; linkname: string }> = {}) =>
  pack({ type: Type.PACKET_STAT, stat: create(StatSchema, { path, mode: 0o644, ...more }) });
const folder = (path: string) => stat(path, { mode: 2 ** 31 + 0o755 });
const link = (path: string, linkname: string) => stat(path, { mode: 2 ** 27 + 0o777, linkname });
const end = pack({ type: Type.PACKET_STAT });
const data = (ID: number, text: string) => pack({ type: Type.PACKET_DATA, ID, data: Buffer.from(text) });

test('a folder arrives as it is: modes, links, times, attributes, names', async () => {
  write('bin/tool', '#!/bin/sh\n');
  chmodSync(joinPath(source, 'bin/tool'), 0o755);
  write('bin/su', 'x');
  chmodSync(joinPath(source, 'bin/su'), 0o4711);
  mkdirSync(joinPath(source, 'tmp'));
  chmodSync(joinPath(source, 'tmp'), 0o1777);
  mkdirSync(joinPath(source, 'closed'));
  chmodSync(joinPath(source, 'closed'), 0o500);
  symlinkSync('../bin/tool', joinPath(source, 'tmp/link'));
  symlinkSync('/etc/passwd', joinPath(source, 'dangling'));
  write('a', 'shared');
  linkSync(joinPath(source, 'a'), joinPath(source, 'z'));
  write('größe/日本語 🚢.txt', 'utf-8');
  write('empty', '');
  lsetxattr(joinPath(source, 'a'), 'user.note', Buffer.from('kept'));
  mknod(joinPath(source, 'pipe'), S_IFIFO | 0o600, 0);
  utimesSync(joinPath(source, 'bin/tool'), 1_000_000_000.5, 1_000_000_000.5);
  utimesSync(joinPath(source, 'bin'), 1_000_000_001, 1_000_000_001);
  const { session } = connect();
  await sync(session);
  expect(tree()).toEqual(tree(source));
  const at = (path: string) => lstatSync(joinPath(dest, path), { bigint: true });
  for (const path of ['bin', 'bin/tool', 'bin/su', 'tmp', 'closed', 'empty', 'größe', 'pipe']) {
    const want = lstatSync(joinPath(source, path), { bigint: true });
    expect([path, at(path).mode, at(path).mtimeNs]).toEqual([path, want.mode, want.mtimeNs]);
  }
  expect(at('a').ino).toBe(at('z').ino);
  expect(lgetxattr(joinPath(dest, 'a'), 'user.note')?.toString()).toBe('kept');
  expect(readlinkSync(joinPath(dest, 'tmp/link'))).toBe('../bin/tool');
  expect(at('dangling').isSymbolicLink()).toBe(true);
});

test('only what changed is sent the second time', async () => {
  for (let i = 0; i < 20; i++) write(`src/file${i}`, `text ${i}`);
  write('src/old', 'goes away');
  write('turns', 'into a folder');
  const first = connect({ sharedKey: 'home' });
  await sync(first.session);
  expect(first.client.sent[0]).toHaveLength(22);
  write('src/file7', 'TEXT 7');
  write('src/new', 'n');
  utimesSync(joinPath(source, 'src/file8'), 1, 1);
  chmodSync(joinPath(source, 'src/file9'), 0o600);
  rmSync(joinPath(source, 'src/old'));
  rmSync(joinPath(source, 'turns'));
  write('turns/inner', 'i');
  renameSync(joinPath(source, 'src/file1'), joinPath(source, 'src/moved'));
  const second = connect({ sharedKey: 'home' });
  await sync(second.session);
  // A changed mode alone is no reason to send a file's bytes again.
  expect(second.client.sent[0]?.toSorted()).toEqual([
    'src/file7',
    'src/file8',
    'src/moved',
    'src/new',
    'turns/inner',
  ]);
  expect(tree()).toEqual(tree(source));
  expect(lstatSync(joinPath(dest, 'src/file9')).mode & 0o777).toBe(0o600);
  const third = connect({ sharedKey: 'home' });
  await sync(third.session);
  expect(third.client.sent).toEqual([[]]);
});

test('a list that comes again byte for byte is taken for the same folder, which is not looked through', async () => {
  for (let i = 0; i < 20; i++) write(`src/deep/file${i}`, `text ${i}`);
  const select = { listing: joinPath(dir, 'dest.list') };
  const again = async () => {
    const { client, session } = connect({ sharedKey: 'home' });
    return { stamp: await sync(session, { select }), sent: client.sent[0] };
  };
  const first = await again();
  expect(first.stamp).toBeTypeOf('string');
  // Nobody but root could do this: the folder is Drydock's own.
  writeFileSync(joinPath(dest, 'src/deep/file3'), 'other');
  expect(await again()).toEqual({ stamp: first.stamp, sent: [] });
  expect(readFileSync(joinPath(dest, 'src/deep/file3'), 'utf8')).toBe('other');
  // What was added or removed is seen by its folder; then all is looked at.
  rmSync(joinPath(dest, 'src/deep/file4'));
  const mended = await again();
  expect(mended.sent).toEqual(['src/deep/file3', 'src/deep/file4']);
  expect(mended.stamp).not.toBe(first.stamp);
  expect(tree()).toEqual(tree(source));
  // Another file late in the list: those before it have been passed over until then.
  write('src/deep/file9', 'TEXT 9');
  const changed = await again();
  expect(changed.sent).toEqual(['src/deep/file9']);
  expect(tree()).toEqual(tree(source));
  expect((await again()).stamp).toBe(changed.stamp);
  rmSync(joinPath(source, 'src/deep/file9'));
  expect((await again()).sent).toEqual([]);
  expect(tree()).toEqual(tree(source));
  const { session } = connect({ sharedKey: 'home' });
  expect(await sync(session, { select: { ...select, afresh: true } })).toBeUndefined();
  expect(existsSync(select.listing)).toBe(false);
});

test('of a list that comes again with changes, only what changed is looked at', async () => {
  for (const name of ['a', 'b', 'c', 'd', 'e']) write(`src/${name}`, name);
  write('src/file', 'file');
  mkdirSync(joinPath(source, 'src/folder'));
  write('src/folder/in', 'in');
  symlinkSync('a', joinPath(source, 'src/link'));
  linkSync(joinPath(source, 'src/a'), joinPath(source, 'src/twin'));
  const select = { listing: joinPath(dir, 'dest.list') };
  const again = async () => {
    const { client, session } = connect({ sharedKey: 'home' });
    await sync(session, { select });
    return client.sent[0];
  };
  await again();
  // As above: that this is not mended shows that nobody looked.
  writeFileSync(joinPath(dest, 'src/b'), 'other');
  write('src/c', 'C');
  expect(await again()).toEqual(['src/c']);
  expect(tree()).toEqual({ ...tree(source), '/src/b': 'other' });
  writeFileSync(joinPath(dest, 'src/b'), 'b');
  // Kinds that change, and what goes and comes beside files that stay.
  rmSync(joinPath(source, 'src/d'));
  rmSync(joinPath(source, 'src/file'));
  write('src/file/in', 'in');
  rmSync(joinPath(source, 'src/folder'), { recursive: true });
  write('src/folder', 'a file');
  rmSync(joinPath(source, 'src/link'));
  symlinkSync('b', joinPath(source, 'src/link'));
  chmodSync(joinPath(source, 'src/e'), 0o600);
  expect(await again()).toEqual(['src/file/in', 'src/folder']);
  expect(tree()).toEqual(tree(source));
  // The name that a hard link leads to is another file; the link itself is listed as before.
  rmSync(joinPath(source, 'src/twin'));
  write('src/a', 'new');
  linkSync(joinPath(source, 'src/a'), joinPath(source, 'src/twin'));
  expect(await again()).toEqual(['src/a']);
  expect(tree()).toEqual(tree(source));
  expect(lstatSync(joinPath(dest, 'src/twin')).ino).toBe(lstatSync(joinPath(dest, 'src/a')).ino);
});

test('of a client that does not say which folder it is, a list with rounded times proves nothing', async () => {
  const select = { listing: joinPath(dir, 'dest.list') };
  write('archived', 'v1');
  for (const text of ['v1', 'v2']) {
    write('archived', text);
    utimesSync(joinPath(source, 'archived'), 1_000_000_000, 1_000_000_000);
    await sync(connect().session, { select });
    expect(tree()).toEqual({ '/archived': text });
  }
});

test('a client that goes on after a list that was known is refused', async () => {
  const select = { listing: joinPath(dir, 'dest.list') };
  const listed = (...more: Uint8Array[]) =>
    connect({
      sharedKey: 'home',
      handlers: {
        [method]: async (call: Call) => {
          for (const packet of [stat('a'), end]) await call.send(packet);
          for await (const _ of call.messages) {
            for (const packet of [...more, pack({ type: Type.PACKET_FIN })]) await call.send(packet);
            return;
          }
        },
      },
    }).session;
  const stamp = await sync(listed(), { select });
  expect(await sync(listed(), { select })).toBe(stamp);
  await expect(sync(listed(stat('b')), { select })).rejects.toMatchObject({
    code: 'invalid',
    message: expect.stringContaining('after the end of its list'),
  });
  expect(readdirSync(dest)).toEqual(['a']);
});

test('a hard link that comes apart, or together, is put right', async () => {
  write('a', 'one');
  linkSync(joinPath(source, 'a'), joinPath(source, 'b'));
  await sync(connect().session);
  rmSync(joinPath(source, 'b'));
  write('b', 'two');
  await sync(connect().session);
  expect(tree()).toEqual({ '/a': 'one', '/b': 'two' });
  rmSync(joinPath(source, 'b'));
  linkSync(joinPath(source, 'a'), joinPath(source, 'b'));
  await sync(connect().session);
  expect(tree()).toEqual({ '/a': 'one', '/b': 'one' });
  expect(lstatSync(joinPath(dest, 'a')).ino).toBe(lstatSync(joinPath(dest, 'b')).ino);
});

test('the folder has the identity that the client gives its files, else the client’s name', async () => {
  expect((await provider(connect({ sharedKey: 'k', name: 'app' }).session)).sharedKey).toBe('key k');
  expect((await provider(connect({ name: 'app' }).session)).sharedKey).toBe('name app');
});

test('of a client that does not say which folder it is, files with rounded times are not trusted to be the same', async () => {
  write('edited', 'v1');
  write('archived', 'v1');
  utimesSync(joinPath(source, 'archived'), 1_000_000_000, 1_000_000_000);
  await sync(connect().session);
  // Another client's folder: same size, same time.
  write('archived', 'v2');
  utimesSync(joinPath(source, 'archived'), 1_000_000_000, 1_000_000_000);
  const { client, session } = connect();
  await sync(session);
  expect(client.sent).toEqual([['archived']]);
  expect(tree()).toEqual({ '/archived': 'v2', '/edited': 'v1' });
});

test('a folder that is wanted afresh is sent whole, whatever its times say', async () => {
  const { session } = connect();
  write('same-size', 'foo');
  await sync(session);
  const { atime, mtime } = lstatSync(joinPath(source, 'same-size'));
  write('same-size', 'bar');
  utimesSync(joinPath(source, 'same-size'), atime, mtime);
  await sync(session, { select: { afresh: true } });
  expect(readFileSync(joinPath(dest, 'same-size'), 'utf8')).toBe('bar');
});

test('what to select is said in the metadata that clients read, with all its characters', async () => {
  for (const path of ['src/a.ts', 'src/b.md', 'docs/größe', 'docs/b', 'real', 'no']) write(path, path);
  symlinkSync('real', joinPath(source, 'link'));
  const { client, session } = connect();
  await sync(session, { select: { includes: ['src', 'docs/größe\n, + %41'], excludes: ['**/*.md'] } });
  expect(client.calls[0]?.headers).toMatchObject({
    'dir-name': 'context',
    'include-patterns': 'src, docs%2Fgr%C3%B6%C3%9Fe%0A%2C+%2B+%2541',
    'include-patterns-encoded': '1',
    'exclude-patterns': '**/*.md',
  });
  expect(client.calls[0]?.headers).not.toHaveProperty('exclude-patterns-encoded');
  expect(tree()).toEqual({ '/src': '/', '/src/a.ts': 'src/a.ts' });
  // Another selection: what it does not cover goes away.
  await sync(session, { select: { includes: ['docs/größe'] } });
  // As UTF-8, which clients before BuildKit 0.9 want; Node shows a header's bytes.
  expect(client.calls[1]?.headers['include-patterns']).toBe(Buffer.from('docs/größe').toString('latin1'));
  expect(tree()).toEqual({ '/docs': '/', '/docs/größe': 'docs/größe' });
  // Bytes that are no UTF-8 go as they are, too; where they must be encoded, it is as bytes.
  await sync(session, { select: { includes: ['caf\udce9'], excludes: ['\udcff '] } });
  expect(client.calls.at(-1)?.headers).toMatchObject({
    'include-patterns': 'caf\xe9',
    'exclude-patterns': '%FF+',
  });
  await sync(session, { select: { followPaths: ['link', 'docs/b'] } });
  expect(client.calls[3]?.headers.followpaths).toBe('link, docs/b');
  expect(tree()).toEqual({ '/docs': '/', '/docs/b': 'docs/b', '/link': '-> real', '/real': 'real' });
});

test('thousands of files in many folders', async () => {
  for (let i = 0; i < 3000; i++) write(`d${i % 60}/e${i % 7}/f${i}`, 'x'.repeat(i % 300));
  const { client, session } = connect();
  const seen: number[] = [];
  await sync(session, { report: (_, { current }) => seen.push(current) });
  expect(tree()).toEqual(tree(source));
  expect(client.sent[0]?.length).toBe(3000 - 10);
  expect(seen.at(-1)).toBeGreaterThan(300_000);
  const again = connect();
  await sync(again.session);
  expect(again.client.sent).toEqual([[]]);
});

test('a large file streams through, also to a client with a small window', async () => {
  write('big', '');
  truncateSync(joinPath(source, 'big'), 48 * 1024 * 1024 + 1);
  execFileSync('dd', ['if=/dev/urandom', `of=${source}/big`, 'bs=1M', 'count=1', 'seek=20', 'conv=notrunc'], {
    stdio: 'ignore',
  });
  await sync(connect({ window: 4096 }).session);
  execFileSync('cmp', [joinPath(source, 'big'), joinPath(dest, 'big')]);
});

test('a folder that the client does not have is said to be missing', async () => {
  await expect(sync(connect().session, { name: 'other' })).rejects.toMatchObject({
    code: 'not-found',
    hop: 'context',
    message: 'the client offers no folder named "other"',
    hint: expect.stringContaining('--build-context other='),
  });
});

test('what the client fails with is told with the name of the folder', async () => {
  const { session } = connect({
    handlers: {
      [method]: async (call: Call) => {
        await call.send(
          pack({ type: Type.PACKET_ERR, data: Buffer.from('open /home/me/key: permission denied') }),
        );
        throw new Error('open /home/me/key: permission denied');
      },
    },
  });
  await expect(sync(session)).rejects.toMatchObject({
    hop: 'session',
    message: expect.stringMatching(/reading the client's build context: .*permission denied/),
  });
});

test('a client that dies in the middle fails the transfer and leaves no half file', async () => {
  write('a', 'whole');
  write('big', '');
  truncateSync(joinPath(source, 'big'), 200 * 1024 * 1024);
  const { client, session } = connect();
  let dying = false;
  const syncing = sync(session, {
    report: (_, { current }) => {
      if (current < 1 << 20 || dying) return;
      dying = true;
      client.close();
    },
  });
  await expect(syncing).rejects.toMatchObject({
    code: 'unavailable',
    hop: 'session',
    message: expect.stringContaining('asking the client for its build context: its session'),
    hint: expect.stringContaining('keep its session open'),
  });
  expect(readdirSync(dest)).toEqual(['a']);
});

test('a transfer that is cancelled stops, and the next one goes on from there', async () => {
  for (let i = 0; i < 50; i++) write(`f${i}`, Buffer.alloc(100_000, i));
  write('zbig', '');
  truncateSync(joinPath(source, 'zbig'), 300 * 1024 * 1024);
  const stop = new AbortController();
  const { session } = connect();
  const syncing = sync(session, {
    signal: stop.signal,
    report: (_, { current }) => {
      if (current > 8 << 20) stop.abort();
    },
  });
  await expect(syncing).rejects.toMatchObject({ code: 'canceled' });
  expect(existsSync(joinPath(dest, 'zbig'))).toBe(false);
  rmSync(joinPath(source, 'zbig'));
  const again = connect();
  await sync(again.session);
  expect(again.client.sent).toEqual([[]]);
});

const hostile: Record<string, Uint8Array[]> = {
  'a path that leads out': [folder('a'), stat('a/../../evil', { size: 4n }), end],
  'a bare ..': [stat('..'), end],
  'an absolute path': [stat('/tmp/evil', { size: 4n }), end],
  'a path that is not clean': [folder('a'), stat('a//b'), end],
  'a path with a NUL': [stat('a\0b'), end],
  'an empty path': [stat(''), end],
  'a file under a symlink': [link('a', '/tmp'), stat('a/evil', { size: 4n }), end],
  'a file under a file': [stat('a'), stat('a/evil'), end],
  'a file without its folder': [stat('a/b'), end],
  'a list in the wrong order': [stat('b'), stat('a'), end],
  'the same name twice': [stat('a'), link('a', '/tmp'), end],
  'a folder again, later': [folder('a'), stat('b'), stat('a/c'), end],
  'a hard link to what is outside': [stat('a', { linkname: '../../../etc/passwd' }), end],
  'a hard link to an absolute path': [stat('a', { linkname: '/etc/passwd' }), end],
  'a hard link to a symlink': [link('a', '/etc/passwd'), stat('b', { linkname: 'a' }), end],
  'a hard link to what comes later': [stat('a', { linkname: 'b' }), stat('b'), end],
  'data that was not asked for': [stat('a'), end, data(7, 'x')],
  'data of a folder': [folder('a'), data(0, 'x')],
  'a file after the end of the list': [stat('a', { size: 4n }), end, stat('b')],
  'an end before all was sent': [stat('a', { size: 4n }), end, pack({ type: Type.PACKET_FIN })],
  'an unknown type of file': [stat('a', { mode: 2 ** 19 + 0o644 }), end],
  'bytes that are no packet': [Buffer.from([0x12, 0xff, 0xff, 0xff, 0xff, 0x0f])],
};
test.each(Object.entries(hostile))('is refused: %s', async (_, packets) => {
  const { session } = scripted(...packets);
  await expect(sync(session)).rejects.toMatchObject({ code: 'invalid', hop: 'session' });
  expect(existsSync('/tmp/evil')).toBe(false);
  expect(readdirSync(dir).toSorted()).toEqual(['dest', 'source']);
});

test('what is in the way from an earlier transfer is never followed', async () => {
  mkdirSync(dest);
  mkdirSync(joinPath(dir, 'outside'));
  write('outside/kept', 'mine', dir);
  symlinkSync(joinPath(dir, 'outside'), joinPath(dest, 'a'));
  symlinkSync(joinPath(dir, 'outside/kept'), joinPath(dest, 'b'));
  write('a/kept', 'theirs');
  write('b', 'theirs');
  await sync(connect().session);
  expect(readFileSync(joinPath(dir, 'outside/kept'), 'utf8')).toBe('mine');
  expect(tree()).toEqual({ '/a': '/', '/a/kept': 'theirs', '/b': 'theirs' });
});

test('a list without an end is given up with the build', async () => {
  let sent = 0;
  const { session } = connect({
    handlers: {
      [method]: async (call: Call) => {
        for (; !call.stream.destroyed; sent++) await call.send(stat(`f${String(sent).padStart(9, '0')}`));
      },
    },
  });
  const stop = new AbortController();
  const syncing = sync(session, {
    signal: stop.signal,
    report: (_, { current }) => {
      if (current > 1 << 20) stop.abort();
    },
  });
  await expect(syncing).rejects.toMatchObject({ code: 'canceled' });
});

test('a list is only so long', () => {
  mkdirSync(dest);
  const receiver = new TreeReceiver(dest, { mode: 'mirror', owners: false, maxEntries: 3 });
  const file = (path: string) => ({
    path,
    ...{ mode: 0o644, uid: 0, gid: 0, size: 0, mtimeNs: 0n, link: '', devmajor: 0, devminor: 0, xattrs: [] },
  });
  for (const [i, path] of ['a', 'b', 'c'].entries()) receiver.stat(i, file(path));
  expect(() => receiver.stat(3, file('d'))).toThrow('lists more than 3 files');
});

test('a client before BuildKit sends a tar each time', async () => {
  const tar = tarOf({ src: { dir: true }, 'src/a': 'a', link: { link: 'src/a' } });
  write('stale', 'x', dest);
  const { client, session } = connect({ dirs: undefined, tars: { context: tar } });
  await sync(session, { select: { excludes: ['*.md'] } });
  expect(client.calls[0]).toMatchObject({
    method: '/moby.filesync.v1.FileSync/TarStream',
    headers: { 'dir-name': 'context', 'exclude-patterns': '*.md' },
  });
  expect(tree()).toEqual({ '/src': '/', '/src/a': 'a', '/link': '-> src/a' });
});
