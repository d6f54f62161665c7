/** What every object store does: a bucket of S3, a container of Azure Blob Storage, a folder. */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type ObjectInfo,
  type ObjectSource,
  type ObjectStore,
  type ObjectStoreSpec,
  openObjectStore,
  troubleOf,
} from '../../src/object-store/index.ts';
import { azureSpec, s3Spec, startAzurite, startS3 } from '../kit/object-stores.ts';

/** Bytes that are made when they are read, and are the same each time. */
function made(size: number): ObjectSource & { digest(): string } {
  const block = Buffer.alloc(1 << 16, 'drydock and its bytes. ');
  function* bytes(start: number, end: number) {
    for (let at = start; at < end; ) {
      const length = Math.min(block.length - (at % block.length), end - at);
      // The number of the block is in it, so that no two are alike.
      const copy = Buffer.from(block);
      copy.writeUInt32BE(Math.floor(at / block.length));
      yield copy.subarray(at % block.length, (at % block.length) + length);
      at += length;
    }
  }
  return {
    size,
    open: async (start, end) => Readable.from(bytes(start, end), { objectMode: false }),
    digest() {
      const hash = createHash('sha256');
      for (const chunk of bytes(0, size)) hash.update(chunk);
      return hash.digest('hex');
    },
  };
}

async function text(stream: Readable): Promise<string> {
  return Buffer.concat(await stream.toArray()).toString();
}

async function digest(stream: Readable): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of stream) hash.update(chunk);
  return hash.digest('hex');
}

async function listed(pages: AsyncGenerator<ObjectInfo[]>): Promise<string[]> {
  const keys: string[] = [];
  for await (const page of pages) keys.push(...page.map(({ key }) => key));
  return keys;
}

const kinds: Record<string, () => Promise<{ spec: ObjectStoreSpec; stop(): unknown }>> = {
  async s3() {
    const server = await startS3();
    return { spec: s3Spec(server.host), stop: () => server.stop() };
  },
  async azblob() {
    const server = await startAzurite();
    return { spec: azureSpec(server.host), stop: () => server.stop() };
  },
  async folder() {
    const dir = mkdtempSync(join(tmpdir(), 'drydock-objects-'));
    return { spec: { type: 'folder', dir }, stop: () => rmSync(dir, { recursive: true }) };
  },
};

describe.each(Object.keys(kinds))('%s', (kind) => {
  let store: ObjectStore;
  let stop: () => unknown;

  beforeAll(async () => {
    const server = await (kinds[kind] as (typeof kinds)[string])();
    stop = server.stop;
    store = await openObjectStore(server.spec, { backoffMs: 10 });
  });
  afterAll(async () => {
    store?.close();
    await stop?.();
  });

  test('an object is written whole, found, and read whole or in part', async () => {
    await store.put('a/hello world+ü', Buffer.from('hello, store'));
    const info = await store.head('a/hello world+ü');
    expect(info).toMatchObject({ key: 'a/hello world+ü', size: 12 });
    expect(Math.abs((info as ObjectInfo).modified - Date.now())).toBeLessThan(600_000);
    const whole = await store.get('a/hello world+ü');
    expect(whole.size).toBe(12);
    expect(await text(whole.stream)).toBe('hello, store');
    const part = await store.get('a/hello world+ü', { start: 7, end: 10 });
    expect(part.size).toBe(12);
    expect(await text(part.stream)).toBe('sto');
    expect(await text((await store.get('a/hello world+ü', { start: 7 })).stream)).toBe('store');
    await store.put('a/hello world+ü', Buffer.from('again'));
    expect(await text((await store.get('a/hello world+ü')).stream)).toBe('again');
  });

  test('an object of no bytes is an object', async () => {
    await store.put('empty', Buffer.alloc(0));
    expect(await store.head('empty')).toMatchObject({ size: 0 });
    expect(await text((await store.get('empty')).stream)).toBe('');
  });

  test('an object that is not there is trouble of its kind', async () => {
    expect(await store.head('none')).toBeUndefined();
    const err = await store.get('none').catch((thrown: unknown) => thrown);
    expect(troubleOf(err)).toBe('not-found');
    expect(err).toMatchObject({ code: 'not-found', hop: 'bucket' });
    expect(troubleOf(await store.touch('none').catch((thrown: unknown) => thrown))).toBe('not-found');
    await store.delete(['none', 'none/too']);
  });

  test('a large object goes in parts, from a source that is never whole in memory', async () => {
    const source = made(17_000_001);
    const sent: number[] = [];
    await store.put('blobs/large', source, { onProgress: (bytes) => sent.push(bytes) });
    expect(sent.at(-1)).toBe(17_000_001);
    const back = await store.get('blobs/large');
    expect(back.size).toBe(17_000_001);
    expect(await digest(back.stream)).toBe(source.digest());
    // One that is named by its bytes may be written by several at once.
    await Promise.all([1, 2].map(() => store.put('blobs/same', source, { sameBytes: true })));
    expect(await digest((await store.get('blobs/same')).stream)).toBe(source.digest());
  });

  test('to touch an object makes it young and leaves its bytes', async () => {
    const key = 'blobs/sha256:old';
    await store.put(key, Buffer.from('old bytes'));
    const before = (await store.head(key)) as ObjectInfo;
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await store.touch(key);
    const after = (await store.head(key)) as ObjectInfo;
    // s3rver leaves the time as it is.
    if (kind !== 's3') expect(after.modified).toBeGreaterThan(before.modified);
    expect(await text((await store.get(key)).stream)).toBe('old bytes');
  });

  test('objects are listed in order, by pages, from a key on; and removed many at once', async () => {
    const keys = Array.from({ length: 15 }, (_, i) => `many/${String(i).padStart(2, '0')}`);
    await Promise.all(keys.map((key) => store.put(key, Buffer.from(key))));
    await store.put('many.else', Buffer.from('x'));
    // s3rver cannot list such a name.
    const special = kind === 's3' ? 'many/b c' : 'many/b&<c>';
    await store.put(special, Buffer.from('x'));
    expect(await listed(store.list('many/'))).toEqual([...keys, special]);
    expect(await listed(store.list('many/', { after: 'many/12' }))).toEqual([...keys.slice(13), special]);
    expect(await listed(store.list('many/1'))).toEqual(keys.slice(10));
    const pages: number[] = [];
    for await (const page of store.list('many/', { pageSize: 6 })) pages.push(page.length);
    expect(pages).toEqual([6, 6, 4]);
    await store.delete([...keys, special, 'many/not-there']);
    expect(await listed(store.list('many'))).toEqual(['many.else']);
    expect(await listed(store.list('nothing'))).toEqual([]);
  });

  test('a key that is a path elsewhere is refused', async () => {
    const keys = ['', '../x', 'a/../../x', `a\0b`, 'a'.repeat(1001)];
    if (kind === 'folder') keys.push('/etc/passwd', 'a//b');
    for (const key of keys) {
      await expect(store.put(key, Buffer.from('x'))).rejects.toMatchObject({
        code: 'invalid',
        hop: 'bucket',
      });
    }
  });

  test('a signal ends it', async () => {
    const stopped = AbortSignal.abort();
    await expect(store.head('x', { signal: stopped })).rejects.toMatchObject({ code: 'canceled' });
    await expect(store.put('x', made(20_000_000), { signal: stopped })).rejects.toMatchObject({
      code: 'canceled',
    });
    expect(await store.head('x')).toBeUndefined();
  });

  test('no upload is left over', async () => {
    expect(await store.abortLeftovers('', 0)).toBe(0);
  });
});

test('a container of Azure that is not there yet is one without objects', async () => {
  const azurite = await startAzurite();
  const store = await openObjectStore({ ...azureSpec(azurite.host), container: 'later' });
  try {
    expect(await store.head('x')).toBeUndefined();
    for (const asked of [store.get('x'), store.touch('x')]) {
      expect(troubleOf(await asked.catch((thrown: unknown) => thrown))).toBe('not-found');
    }
    expect(await listed(store.list(''))).toEqual([]);
    await store.put('x', Buffer.from('made'));
    expect(await text((await store.get('x')).stream)).toBe('made');
  } finally {
    store.close();
    await azurite.stop();
  }
});
