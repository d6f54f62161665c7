/**
 * Layers whose files can be read one by one, without the rest of the blob: eStargz
 * (https://github.com/containerd/stargz-snapshotter/blob/main/docs/estargz.md) and zstd:chunked
 * (https://github.com/containers/storage/blob/main/docs/containers-storage-zstd-chunked.md). A reader that goes by those
 * texts reads here what was packed.
 */
import { createHash, randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import zlib from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { packSnapshot } from '../../src/layer/blobs.ts';
import { Boundaries } from '../../src/layer/chunked/boundaries.ts';
import { Crc64 } from '../../src/layer/chunked/tar-split.ts';
import { convertBlob } from '../../src/layer/convert.ts';
import { layerWriter } from '../../src/layer/layer-writer.ts';
import { unpackLayer } from '../../src/layer/unpack.ts';
import { lsetxattr } from '../../src/linux/libc.ts';
import { digestOf } from '../../src/oci/digest.ts';
import type { Descriptor } from '../../src/oci/types.ts';

import { type Store, snapshotLabels } from '../../src/store/store.ts';
import { endOfArchive, header, padding, type TarHeader } from '../../src/tar/writer.ts';
import { closePool } from '../../src/workers/pool.ts';
import { readTar } from '../tar/kit.ts';
import { lease, step, withStore } from './kit.ts';

afterAll(closePool);

// More than one chunk in both.
const large = Buffer.concat([randomBytes(300_000), Buffer.alloc(4 << 20, 'a line of text\n')]);
const kinds = ['estargz', 'zstdchunked'] as const;

/** A layer with one of everything, on another one. */
async function sample(store: Store): Promise<string> {
  const base = await step(store, 'base', undefined, (root) => writeFileSync(join(root, 'gone'), ''));
  return step(store, 'sample', base, (root) => {
    const at = (path: string) => join(root, path);
    rmSync(at('gone'));
    mkdirSync(at('dir/ünder'), { recursive: true });
    writeFileSync(at('dir/empty'), '');
    writeFileSync(at('dir/small'), 'small', { mode: 0o4755 });
    writeFileSync(at(`dir/${'long'.repeat(30)}`), 'by a PAX header');
    writeFileSync(at('dir/large'), large);
    writeFileSync(at('dir/ünder/block'), Buffer.alloc(512, 'b'));
    linkSync(at('dir/small'), at('dir/ünder/hard'));
    symlinkSync('../small', at('dir/ünder/soft'));
    lsetxattr(at('dir/small'), 'user.note', Buffer.from([0, 255]));
    utimesSync(at('dir/small'), 1000, 1000.25);
  });
}

interface Toc {
  version: number;
  tarSplitDigest?: string;
  // biome-ignore lint/suspicious/noExplicitAny: the entries of a JSON document
  entries: Record<string, any>[];
}

/** The table of contents of a blob: found by its footer, checked by the annotation. */
function tocOf(blob: Buffer, { annotations = {} }: Descriptor): Toc & { at: number; split?: Buffer } {
  if (blob[0] === 0x1f) {
    const footer = blob.subarray(blob.length - 51);
    expect(zlib.gunzipSync(footer)).toEqual(Buffer.alloc(0));
    expect(footer.toString('latin1', 12, 14)).toBe('SG');
    const field = footer.toString('latin1', 16, 38);
    expect(field).toMatch(/^[0-9a-f]{16}STARGZ$/);
    const at = Number.parseInt(field, 16);
    const [entry, ...rest] = readTar(zlib.gunzipSync(blob.subarray(at)));
    expect([entry?.path, rest]).toEqual(['stargz.index.json', []]);
    expect(digestOf(entry!.body)).toBe(annotations['containerd.io/snapshot/stargz/toc.digest']);
    const whole = zlib.gunzipSync(blob);
    expect(annotations['io.containers.estargz.uncompressed-size']).toBe(String(whole.length));
    return { ...(JSON.parse(entry!.body.toString()) as Toc), at };
  }
  const own = (name: string) => annotations[`io.github.containers.zstd-chunked.${name}`] ?? '';
  const footer = blob.subarray(blob.length - 64);
  expect(footer.toString('latin1', 56)).toBe('GNUlInUx');
  const numbers = Array.from({ length: 7 }, (_, i) => Number(footer.readBigUInt64LE(8 * i)));
  expect(own('manifest-position')).toBe(numbers.slice(0, 4).join(':'));
  const [at, length, plain, type, splitAt, splitLength, splitPlain] = numbers as number[];
  expect(type).toBe(1);
  const packed = blob.subarray(at, at! + length!);
  expect(digestOf(packed)).toBe(own('manifest-checksum'));
  const json = zlib.zstdDecompressSync(packed);
  expect(json.length).toBe(plain);
  const toc = JSON.parse(json.toString()) as Toc;
  if (splitAt === 0) return { ...toc, at: at! };
  expect(own('tarsplit-position')).toBe(numbers.slice(4).join(':'));
  const packedSplit = blob.subarray(splitAt, splitAt! + splitLength!);
  expect(digestOf(packedSplit)).toBe(toc.tarSplitDigest);
  const split = zlib.zstdDecompressSync(packedSplit);
  expect(split.length).toBe(splitPlain);
  return { ...toc, at: at!, split };
}

/** The contents of a blob's files, each read from its own bytes of the blob alone, with all digests checked. */
function filesOf(blob: Buffer, toc: ReturnType<typeof tocOf>): Map<string, Buffer> {
  const data = toc.entries.filter(({ offset }) => offset > 0);
  const files = new Map<string, Buffer>();
  for (const entry of toc.entries.filter(({ type }) => type === 'reg')) {
    const chunks = toc.entries.filter(({ name, offset }) => name === entry.name && offset > 0);
    const parts = chunks.map((chunk, i) => {
      const next = data[data.indexOf(chunk) + 1]?.offset ?? toc.at;
      const bytes = blob.subarray(
        chunk.offset,
        i === chunks.length - 1 ? (entry.endOffset ?? next) : chunks[i + 1]!.offset,
      );
      const begin = chunk.chunkOffset ?? 0;
      const size = chunk.chunkSize || entry.size - begin;
      const plain = bytes[0] === 0x1f ? zlib.gunzipSync(bytes) : zlib.zstdDecompressSync(bytes);
      // In eStargz, the headers that follow may be behind it.
      if (bytes[0] !== 0x1f) expect(plain.length).toBe(size);
      const part = plain.subarray(0, size);
      if (chunk.chunkDigest !== undefined) expect(digestOf(part)).toBe(chunk.chunkDigest);
      return part;
    });
    const body = Buffer.concat(parts);
    expect(body.length).toBe(entry.size ?? 0);
    if (entry.digest !== undefined) expect(digestOf(body)).toBe(entry.digest);
    files.set(entry.name, body);
  }
  return files;
}

/** The archive as its split gives it, with the files' contents in their places. */
function joined(split: Buffer, files: Map<string, Buffer>): Buffer {
  const lines = split.toString().trim().split('\n');
  const parts = lines.map((line, i) => {
    const { type, name, size, payload, position } = JSON.parse(line);
    expect(position).toBe(i);
    if (type === 2) return Buffer.from(payload, 'base64');
    const body = files.get(name) ?? Buffer.alloc(0);
    expect(size ?? 0).toBe(body.length);
    const crc = new Crc64();
    crc.update(body);
    expect(payload).toBe(body.length === 0 ? null : crc.digest().toString('base64'));
    return body;
  });
  return Buffer.concat(parts);
}

const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');

describe.each(['overlayfs', 'native'] as const)('a layer of an %s snapshot', (snapshotter) => {
  test.each(kinds)('as %s: every file is read from its own chunks', (type) =>
    withStore(snapshotter, async (store) => {
      const key = await sample(store);
      const pack = { store: 'blob', lease } as const;
      const plain = await packSnapshot(store, key, { compression: { type: 'uncompressed' }, ...pack });
      const tar = await store.content.bytes(plain.descriptor.digest);
      const made = await packSnapshot(store, key, { compression: { type }, ...pack });
      const blob = await store.content.bytes(made.descriptor.digest);
      const toc = tocOf(blob, made.descriptor);
      const files = filesOf(blob, toc);
      expect(toc.version).toBe(1);

      // The table has the archive's entries, in its order.
      const entries = readTar(tar);
      const listed = toc.entries.filter((entry) => entry.type !== 'chunk');
      expect(listed.map(({ name }) => name.replace(/\/$/, ''))).toEqual(entries.map(({ path }) => path));
      for (const [i, entry] of entries.entries()) {
        expect(files.get(listed[i]!.name)?.equals(entry.body) ?? entry.type !== 'file').toBe(true);
      }
      const find = (name: string) => listed.find((entry) => entry.name === name);
      expect(find('dir/small')).toMatchObject({
        ...{ type: 'reg', size: 5, mode: 0o4755, digest: `sha256:${sha256(Buffer.from('small'))}` },
        xattrs: { 'user.note': 'AP8=' },
        modtime: type === 'estargz' ? '1970-01-01T00:16:40Z' : '1970-01-01T00:16:40.25Z',
      });
      expect(find('dir/')).toMatchObject({ type: 'dir', mode: 0o755 });
      expect(find('dir/ünder/hard')).toMatchObject({ type: 'hardlink', linkName: 'dir/small' });
      expect(find('dir/ünder/soft')).toMatchObject({ type: 'symlink', linkName: '../small' });
      expect(find('.wh.gone')).toMatchObject({ type: 'reg' });
      expect(toc.entries.filter(({ type, name }) => type === 'chunk' && name !== 'dir/large')).toEqual([]);

      // Readers that do not know it see an ordinary layer, with the same files.
      const { descriptor, diffId, size } = made;
      if (type === 'estargz') {
        expect(descriptor.mediaType).toBe('application/vnd.oci.image.layer.v1.tar+gzip');
        const whole = zlib.gunzipSync(blob);
        expect([digestOf(whole), whole.length]).toEqual([diffId, size]);
        // The table comes after the archive's end.
        expect(whole.subarray(0, tar.length).equals(tar)).toBe(true);
      } else {
        expect(descriptor.mediaType).toBe('application/vnd.oci.image.layer.v1.tar+zstd');
        expect([diffId, size]).toEqual([plain.diffId, tar.length]);
        expect(zlib.zstdDecompressSync(blob).equals(tar)).toBe(true);
        expect(joined(toc.split!, files).equals(tar)).toBe(true);
      }
      const parent = (await store.snapshots.stat(key))?.parent;
      const unpacked = await unpackLayer(
        store,
        await store.snapshots.prepare('again', parent, { lease }),
        descriptor,
      );
      expect(unpacked.diffId).toBe(diffId);
      await store.snapshots.commit('unpacked', 'again', { lease });
      const repacked = await packSnapshot(store, 'unpacked', {
        compression: { type: 'uncompressed' },
        ...pack,
      });
      expect(repacked.diffId).toBe(plain.diffId);

      // The snapshot keeps the diff ID of its own tar, and finds the blob again.
      expect((await store.snapshots.stat(key))?.labels[snapshotLabels.diffId]).toBe(plain.diffId);
      expect(await packSnapshot(store, key, { compression: { type }, ...pack })).toEqual(made);
      // From the plain blob it is the same, byte for byte.
      const { tarId, ...again } = await convertBlob(store, plain.descriptor, { type }, { lease });
      expect([again, tarId]).toEqual([made, plain.diffId]);
    }),
  );
});

/** A blob of an archive that is given by its headers and contents. */
async function written(type: (typeof kinds)[number], ...tar: Buffer[]) {
  const blob: Buffer[] = [];
  const writer = layerWriter({ type }, { write: (data) => void blob.push(Buffer.from(data)) });
  // The bytes come in any portions.
  for (const part of tar)
    for (let at = 0; at < part.length; at += 333) writer.put(part.subarray(at, at + 333));
  const { annotations, digest, blobSize: size } = await writer.finish();
  const bytes = Buffer.concat(blob);
  expect([digestOf(bytes), bytes.length]).toEqual([digest, size]);
  return { blob: bytes, descriptor: { mediaType: '', digest, size, annotations } as Descriptor };
}

const file: TarHeader = { path: 'a', type: 'file', mode: 0o644, uid: 1, gid: 2, size: 3, mtimeNs: 5n };
const body = Buffer.concat([Buffer.from('abc'), padding(3)]);

describe('archives of others', () => {
  test('keep their own spelling of names in the table', async () => {
    const named = header({ ...file, path: './dir/../x/./a' });
    for (const type of kinds) {
      const { blob, descriptor } = await written(type, named, body, endOfArchive);
      const toc = tocOf(blob, descriptor);
      expect(toc.entries[0]).toMatchObject({ name: './dir/../x/./a', uid: 1, gid: 2, mode: 0o644 });
      expect(filesOf(blob, toc).get('./dir/../x/./a')?.toString()).toBe('abc');
    }
  });

  const twice = [header(file), body, header(file), body, endOfArchive];
  const typed = header({ ...file, mtimeNs: 0n });
  typed.write('0100644', 100, 'latin1');
  typed.write('        ', 148, 'latin1');
  typed.write(`${typed.reduce((sum, byte) => sum + byte, 0).toString(8)}\0`, 148, 'latin1');
  test.each<[string, Buffer[]]>([
    ['a file twice', twice],
    ['a mode with the type in it', [typed, body, endOfArchive]],
    ['a name that is not UTF-8', [header({ ...file, path: 'a\udce9' }), body, endOfArchive]],
    ['something after its end', [header(file), body, endOfArchive, header(file), body]],
  ])('have no split when they hold %s: podman then reads the layer as a whole', async (_, tar) => {
    const { blob, descriptor } = await written('zstdchunked', ...tar);
    const toc = tocOf(blob, descriptor);
    expect([toc.tarSplitDigest, toc.split]).toEqual([undefined, undefined]);
    expect(zlib.zstdDecompressSync(blob).equals(Buffer.concat(tar))).toBe(true);
  });

  test('an eStargz cannot have a file of its table’s name', async () => {
    const tar = [header({ ...file, path: 'stargz.index.json' }), body, endOfArchive];
    await expect(written('estargz', ...tar)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('stargz.index.json'),
    });
  });
});

test('equal parts of two files are equal chunks, wherever they are', () => {
  const cuts = (data: Buffer) => {
    const bounds = new Boundaries();
    const chunks: string[] = [];
    let from = 0;
    for (let at = 0; at < data.length; ) {
      const n = bounds.next(data.subarray(0, Math.min(data.length, at + 10_000)), at);
      at += n ?? Math.min(10_000, data.length - at);
      if (n === undefined && at < data.length) continue;
      chunks.push(sha256(data.subarray(from, at)));
      from = at;
    }
    return chunks;
  };
  const data = randomBytes(2 << 20);
  const before = cuts(data);
  const after = cuts(Buffer.concat([Buffer.from('a few bytes more'), data]));
  expect(before.length).toBeGreaterThan(10);
  expect(after.filter((chunk) => before.includes(chunk)).length).toBeGreaterThan(before.length - 5);
});

test('the checksum of a split is the CRC-64 that Go has', () => {
  const crc = new Crc64();
  crc.update(Buffer.from('123456789'));
  expect(crc.digest().toString('hex')).toBe('b90956c775a41001');
});
