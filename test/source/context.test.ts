/** The client's files: folders on this host, folders sent by a client elsewhere, posted archives. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { keptUnder } from '../../src/kept/kept.ts';
import { contentDigest } from '../../src/solver/content.ts';
import { localSource } from '../../src/source/local.ts';
import { uploadSource } from '../../src/source/upload.ts';
import type { Ref } from '../../src/store/ref.ts';
import { type TestFile, tarOf } from '../kit/images.ts';
import { runSource } from '../kit/run-op.ts';
import { treeOf } from '../kit/tree.ts';
import { Workshop } from '../kit/workshop.ts';

let shop: Workshop;
let dir: string;
beforeAll(async () => {
  shop = new Workshop();
  await shop.open();
  dir = mkdtempSync(join(tmpdir(), 'drydock-context-'));
  mkdirSync(join(dir, 'src'));
  writeFileSync(join(dir, 'src', 'main.go'), 'package main');
  writeFileSync(join(dir, 'notes.md'), 'notes');
});
afterAll(async () => {
  await shop.remove();
  rmSync(dir, { recursive: true, force: true });
});

const upload = (data: Uint8Array | Readable, options = {}) => {
  const stream = data instanceof Readable ? data : Readable.from([Buffer.from(data)]);
  return runSource(
    shop,
    uploadSource,
    'upload://u1',
    {},
    { session: { upload: async () => stream }, ...options },
  );
};
const unpacked = async (files: Record<string, TestFile>) => {
  const { refs, release } = await upload(tarOf(files));
  try {
    return treeOf(await shop.view(refs[0]));
  } finally {
    await release();
  }
};
const digest = (ref: Ref | undefined) =>
  contentDigest(shop, ref!, [{ path: '/' }], {
    session: {} as never,
    progress: { digest: 'sha256:', report: () => {}, log: () => {}, warn: () => {} },
    signal: new AbortController().signal,
    lease: 'test',
  });

test('a folder on this host is looked into where it is, through its filters', async () => {
  const local = async (name: string) => (name === 'context' ? { kind: 'folder' as const, dir } : undefined);
  const { map, refs } = await runSource(
    shop,
    localSource,
    'local://context',
    { 'local.excludepatterns': '["*.md"]', 'local.sharedkeyhint': 'x' },
    { session: { local } },
  );
  expect(map.volatile).toBe(true);
  const view = await shop.view(refs[0]);
  expect(treeOf(view)).toEqual({ '/src': '/', '/src/main.go': 'package main' });
  expect(view.lstat('/src/main.go')?.hostPath).toBe(join(dir, 'src', 'main.go'));
});

test('a folder the client does not offer is said to be missing', async () => {
  await expect(runSource(shop, localSource, 'local://other')).rejects.toMatchObject({
    code: 'not-found',
    hop: 'context',
    hint: expect.stringContaining('--build-context other='),
  });
});

test('a folder sent by a client is kept, and only what changed is sent the next time', async () => {
  const found: string[][] = [];
  const local = async () => ({
    kind: 'sync' as const,
    sharedKey: 'host:/home/me/app',
    async sync(dest: string) {
      found.push(readdirSync(dest));
      writeFileSync(join(dest, 'a'), 'from the client');
      return undefined;
    },
  });
  const first = await runSource(shop, localSource, 'local://context', {}, { session: { local } });
  expect(treeOf(await shop.view(first.refs[0]))).toEqual({ '/a': 'from the client' });
  // While one build has it in its hands, another one gets a folder of its own.
  const second = await runSource(shop, localSource, 'local://context', {}, { session: { local } });
  await first.release();
  await second.release();
  await (await runSource(shop, localSource, 'local://context', {}, { session: { local } })).release();
  expect(found).toEqual([[], [], ['a']]);
});

test('a state of such a folder that is known again is read once', async () => {
  const state = { stamp: 'one', text: 'v1' };
  const local = async () => ({
    kind: 'sync' as const,
    sharedKey: 'host:/home/me/lib',
    async sync(dest: string) {
      writeFileSync(join(dest, 'a'), state.text);
      return state.stamp;
    },
  });
  const build = async () => {
    const { refs, release } = await runSource(shop, localSource, 'local://lib', {}, { session: { local } });
    const found = await digest(refs[0]);
    await release();
    return found;
  };
  const first = await build();
  state.text = 'v2';
  expect(await build()).toBe(first);
  state.stamp = 'two';
  expect(await build()).not.toBe(first);
});

test('what clients have sent is listed, and removed when nobody uses it, or after a week', async () => {
  const local = async () => ({
    kind: 'sync' as const,
    sharedKey: 'k2',
    async sync(dest: string) {
      writeFileSync(join(dest, 'a'), 'x'.repeat(5000));
      return undefined;
    },
  });
  const folders = keptUnder(shop.store.root).clientFolders;
  const of = async () => (await folders.list()).filter(({ description }) => description.endsWith(' src'));
  const { release } = await runSource(shop, localSource, 'local://src', {}, { session: { local } });
  const [used] = await of();
  expect(used).toMatchObject({ description: 'local source for src', inUse: true });
  expect(used?.size).toBeGreaterThan(5000);
  expect(await folders.remove(used!.id)).toBe(0);
  await release();
  expect((await of())[0]?.inUse).toBe(false);
  await folders.sweep(Date.now() + 6 * 24 * 3600_000);
  expect(await of()).toHaveLength(1);
  await folders.sweep(Date.now() + 8 * 24 * 3600_000);
  expect(await of()).toEqual([]);
  // Another selection of the same folder, by its hint, has a state of its own.
  const hint = { 'local.sharedkeyhint': 'ignore file' };
  const one = await runSource(shop, localSource, 'local://src', hint, { session: { local } });
  const two = await runSource(shop, localSource, 'local://src', {}, { session: { local } });
  await one.release();
  await two.release();
  expect(await of()).toHaveLength(2);
  for (const { id } of await of()) expect(await folders.remove(id)).toBeGreaterThan(5000);
  expect(await folders.remove('../../etc')).toBe(0);
  expect(await of()).toEqual([]);
});

test('an archive is unpacked, whatever it is compressed with', async () => {
  const tar = tarOf({
    Dockerfile: 'FROM scratch',
    src: { dir: true },
    'src/a': 'a',
    link: { link: 'src/a' },
  });
  const through = (program: string) => execFileSync(program, ['-c'], { input: tar });
  for (const data of [tar, gzipSync(tar), zstdCompressSync(tar), through('bzip2'), through('xz')]) {
    const { refs, release } = await upload(data);
    expect(treeOf(await shop.view(refs[0]))).toEqual({
      '/Dockerfile': 'FROM scratch',
      '/src': '/',
      '/src/a': 'a',
      '/link': '-> src/a',
    });
    await release();
  }
  // What is kept for the next archive is not in the run folder.
  expect(existsSync(join(shop.store.runDir, 'uploads'))).toBe(false);
});

test('the same files have the same digest as an archive and as a folder', async () => {
  const local = async () => ({ kind: 'folder' as const, dir });
  const folder = await runSource(shop, localSource, 'local://context', {}, { session: { local } });
  const archive = await upload(
    tarOf({
      'src/main.go': { data: 'package main', uid: 1000, gid: 1000 },
      'notes.md': 'notes',
    }),
  );
  expect(await digest(archive.refs[0])).toBe(await digest(folder.refs[0]));
  await archive.release();
});

test('what is no archive is a Dockerfile', async () => {
  const { refs, release } = await upload(Buffer.from('FROM alpine\nRUN true\n'));
  expect(treeOf(await shop.view(refs[0]))).toEqual({ '/Dockerfile': 'FROM alpine\nRUN true\n' });
  await release();
  await expect(upload(Buffer.alloc(0))).rejects.toMatchObject({ code: 'invalid', hop: 'context' });
  await expect(upload(Buffer.from([1, 0, 2, 3]))).rejects.toMatchObject({
    code: 'invalid',
    hint: expect.stringContaining('tar'),
  });
});

test('nothing gets out of the folder', async () => {
  const target = join(dir, 'outside');
  const evil: Record<string, TestFile>[] = [
    { '../outside': 'x' },
    { 'a/../../outside': 'x' },
    { out: { link: dir }, 'out/outside': 'x' },
    { out: { link: dir }, stolen: { hard: 'out/notes.md' } },
    { stolen: { hard: '../../../../../etc/passwd' } },
  ];
  for (const files of evil) {
    await expect(upload(tarOf(files))).rejects.toMatchObject({ code: 'invalid', hop: 'context' });
  }
  expect(existsSync(target)).toBe(false);
  // What is kept for the next archive is not in the run folder.
  expect(existsSync(join(shop.store.runDir, 'uploads'))).toBe(false);
  // An absolute path is one within the context.
  expect(await unpacked({ '/etc/x': 'x' })).toEqual({ '/etc': '/', '/etc/x': 'x' });
});

test('a later entry takes the place of an earlier one of its name', async () => {
  expect(await unpacked({ a: 'file', 'b/c': 'x', b: 'now a file' })).toEqual({
    '/a': 'file',
    '/b': 'now a file',
  });
  expect(await unpacked({ a: { link: '/etc/passwd' }, 'a ': 'x' })).toMatchObject({ '/a': '-> /etc/passwd' });
  const again = await unpacked({ a: { link: '/etc/hostname' }, b: 'x' });
  expect(again).toMatchObject({ '/b': 'x' });
  expect(readFileSync('/etc/passwd', 'utf8')).toContain('root');
});

test('an upload that breaks off fails the build with the reason', async () => {
  const tar = tarOf({ a: 'x'.repeat(100_000) });
  await expect(upload(tar.subarray(0, 50_000))).rejects.toMatchObject({ code: 'corrupt', hop: 'context' });
  const broken = new Readable({
    read() {
      this.push(tar.subarray(0, 1024));
      this.destroy(new Error('the client went away'));
    },
  });
  await expect(upload(broken)).rejects.toThrow('the client went away');
});

test('an upload that stalls can be aborted', async () => {
  const stop = new AbortController();
  const stalled = new Readable({ read() {} });
  stalled.push(tarOf({ a: 'x' }).subarray(0, 600));
  setTimeout(() => stop.abort(), 100);
  await expect(upload(stalled, { signal: stop.signal })).rejects.toMatchObject({ code: 'canceled' });
  expect(stalled.destroyed).toBe(true);
});

test('uploads that stall do not keep others waiting, and few are read at a time', async () => {
  const stop = new AbortController();
  const asked: string[] = [];
  const silent = (name: string) => new Readable({ read: () => void asked.push(name) });
  const stalled = Array.from({ length: 10 }, (_, i) => {
    const failing = upload(silent(`${i}`), { signal: stop.signal });
    return expect(failing).rejects.toMatchObject({ code: 'canceled' });
  });
  await expect.poll(() => new Set(asked).size).toBe(8);
  expect(await unpacked({ f: 'other' })).toEqual({ '/f': 'other' });
  expect(new Set(asked).size).toBe(10);
  stop.abort();
  await Promise.all(stalled);
});

test('an upload that is given up before its turn is let go of', async () => {
  const stop = new AbortController();
  const streams = Array.from({ length: 9 }, () => new Readable({ read: () => {} }));
  const all = Promise.allSettled(streams.map((stream) => upload(stream, { signal: stop.signal })));
  stop.abort();
  expect((await all).map(({ status }) => status)).toEqual(streams.map(() => 'rejected'));
  expect(streams.every(({ destroyed }) => destroyed)).toBe(true);
  expect(await unpacked({ f: 'next' })).toEqual({ '/f': 'next' });
});

test('an upload is there once', async () => {
  await expect(
    runSource(shop, uploadSource, 'upload://gone', {}, { session: { upload: async () => undefined } }),
  ).rejects.toMatchObject({ code: 'not-found', hop: 'context' });
});
