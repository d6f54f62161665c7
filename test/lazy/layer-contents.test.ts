/** The contents of a lazy layer: what is fetched when a file is read, and what is not. */
import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import zlib from 'node:zlib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Limiter } from '../../src/flow/limiter.ts';
import { prefetchEnd } from '../../src/layer/skeleton-task.ts';
import { LayerContents } from '../../src/lazy/layer-contents.ts';
import { LayerTableWriter, type LazyChunk } from '../../src/lazy/layer-table.ts';
import { NodeNumbers } from '../../src/lazy/node-numbers.ts';
import { verifyContents } from '../../src/lazy/verify-task.ts';
import { digestOf } from '../../src/oci/digest.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-lazy-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** A layer of files, each of several chunks; every chunk is a gzip member. */
class Layer {
  readonly writer = new LayerTableWriter();
  readonly ranges: { offset: number; length: number }[] = [];
  blob = Buffer.alloc(0);
  /** Where the files end that are fetched ahead. */
  prefetch: number | undefined;
  /** Set to have the registry fail. */
  failure: Error | undefined;

  add(...parts: Buffer[]): number {
    let offset = 0;
    return this.writer.add(
      parts.map((part): LazyChunk => {
        const at = this.blob.length;
        this.blob = Buffer.concat([this.blob, zlib.gzipSync(part, { level: 0 })]);
        const sha256 = createHash('sha256').update(part).digest();
        offset += part.length;
        return {
          offset: offset - part.length,
          size: part.length,
          inner: 0,
          at,
          end: this.blob.length,
          sha256,
        };
      }),
    );
  }

  open(name = 'lazy'): LayerContents {
    const blob = { digest: digestOf('blob'), size: this.blob.length };
    const folder = join(dir, name);
    try {
      const { prefetch } = this;
      this.writer.write(folder, { source: 'localhost/app', blob, compression: 'estargz', prefetch });
    } catch {
      // It is there: this is another process.
    }
    const fetch = async (_: unknown, range: { offset: number; length: number }) => {
      this.ranges.push(range);
      if (this.failure !== undefined) throw this.failure;
      return this.blob.subarray(range.offset, range.offset + range.length);
    };
    return new LayerContents(folder, fetch, new Limiter(4));
  }
}

async function read(layer: LayerContents, file: number, offset: number, length: number): Promise<Buffer> {
  const out = Buffer.alloc(length);
  await layer.read(file, offset, out);
  return out;
}

test('a read across chunks gives their bytes; equal reads at once fetch once, later ones nothing', async () => {
  const layer = new Layer();
  const [one, two] = [randomBytes(400_000), randomBytes(400_000)];
  const file = layer.add(one, two);
  const contents = layer.open();
  const reads = await Promise.all([read(contents, file, 399_990, 20), read(contents, file, 399_990, 20)]);
  for (const found of reads) expect(found).toEqual(Buffer.concat([one.subarray(-10), two.subarray(0, 10)]));
  expect(layer.ranges).toHaveLength(1);
  expect(await read(contents, file, 0, 800_000)).toEqual(Buffer.concat([one, two]));
  // Another process finds it on the disk.
  expect(await read(layer.open(), file, 0, 400_000)).toEqual(one);
  expect(layer.ranges).toHaveLength(1);
});

test('small files that lie beside one another come together, and far ones do not', async () => {
  const layer = new Layer();
  const small = Array.from({ length: 20 }, () => layer.add(randomBytes(1000)));
  const large = layer.add(randomBytes(1 << 20));
  const contents = layer.open();
  for (const file of small) await read(contents, file, 0, 1000);
  expect(layer.ranges).toHaveLength(1);
  expect(layer.ranges[0]?.length).toBeLessThan(30_000);
  await read(contents, large, 0, 10);
  expect(layer.ranges).toHaveLength(2);
});

test('a file that is read to its end comes in ever larger pieces', async () => {
  const layer = new Layer();
  const parts = Array.from({ length: 160 }, () => randomBytes(64 << 10));
  const file = layer.add(...parts);
  const contents = layer.open();
  for (let at = 0; at < 160; at++) expect(await read(contents, file, at << 16, 1 << 16)).toEqual(parts[at]);
  const lengths = layer.ranges.map(({ length }) => length);
  expect(lengths.length).toBeLessThan(9);
  expect(Math.max(...lengths)).toBeLessThanOrEqual(8 << 20);
  expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(layer.blob.length);
});

test('wrong bytes are refused, and asked for again by the next read', async () => {
  const layer = new Layer();
  const file = layer.add(Buffer.from('right'));
  const right = layer.blob;
  layer.blob = zlib.gzipSync('wrong', { level: 0 });
  const contents = layer.open();
  await expect(read(contents, file, 0, 5)).rejects.toMatchObject({ code: 'corrupt' });
  layer.blob = Buffer.alloc(right.length, 'x');
  await expect(read(contents, file, 0, 5)).rejects.toMatchObject({ code: 'corrupt' });
  layer.failure = new Error('away');
  await expect(read(contents, file, 0, 5)).rejects.toThrow('away');
  layer.failure = undefined;
  layer.blob = right;
  expect(String(await read(contents, file, 1, 3))).toBe('igh');
});

test('chunks of one part are cut out of it; zeros are not fetched', async () => {
  const layer = new Layer();
  layer.blob = zlib.gzipSync('headers-onetwo', { level: 0 });
  const end = layer.blob.length;
  const chunk = (text: string, inner: number): LazyChunk => {
    const sha256 = createHash('sha256').update(text).digest();
    return { offset: 0, size: text.length, inner, at: 0, end, sha256 };
  };
  const one = layer.writer.add([chunk('one', 8)]);
  const two = layer.writer.add([chunk('two', 11)]);
  const zeros = layer.writer.add([{ ...chunk('\0\0\0\0', 0), at: end }]);
  const contents = layer.open();
  expect(String(await read(contents, two, 0, 3))).toBe('two');
  expect(String(await read(contents, one, 0, 3))).toBe('one');
  expect(await read(contents, zeros, 1, 2)).toEqual(Buffer.alloc(2));
  expect(layer.ranges.filter(({ length }) => length > 0).length).toBeLessThanOrEqual(2);
});

test('bytes that were lost after they were noted, as by a power cut, are fetched again', async () => {
  const layer = new Layer();
  const parts = [randomBytes(300_000), randomBytes(300_000)];
  const file = layer.add(...parts);
  await read(layer.open(), file, 0, 600_000);
  const data = join(dir, 'lazy/data');
  // From the middle of the second chunk on there is a hole, or nothing at all.
  for (const size of [600_000, 450_000]) {
    truncateSync(data, 450_000);
    truncateSync(data, size);
    layer.ranges.length = 0;
    const contents = layer.open();
    for (let i = 0; i < 2; i++) {
      const found = await read(contents, file, 0, 600_000);
      expect(found.equals(Buffer.concat(parts))).toBe(true);
    }
    expect(layer.ranges).toHaveLength(1);
  }
});

test('a table that is damaged is told, with what to do', async () => {
  const layer = new Layer();
  layer.add(randomBytes(1000), randomBytes(1000));
  layer.open();
  const path = (name: string) => join(dir, 'lazy', name);
  const whole = new Map(
    ['layer.json', 'files', 'chunks', 'have'].map((name) => [name, readFileSync(path(name))]),
  );
  for (const [name, bytes] of whole) {
    for (const damaged of [bytes.subarray(0, bytes.length - 1), Buffer.alloc(0), undefined]) {
      if (damaged === undefined) rmSync(path(name));
      else writeFileSync(path(name), damaged);
      const told = `the lazy layer in ${join(dir, 'lazy')} is damaged`;
      expect(() => layer.open(), `${name} ${damaged?.length}`).toThrow(told);
      expect(() => verifyContents({ folder: join(dir, 'lazy') })).toThrow(told);
      writeFileSync(path(name), bytes);
    }
  }
  rmSync(dir, { recursive: true });
  expect(() => layer.open()).toThrow('ENOENT');
});

test('the files before the landmark come with the first read, in few requests; those behind it do not', async () => {
  const layer = new Layer();
  const files = Array.from({ length: 40 }, () => layer.add(randomBytes(100_000)));
  layer.prefetch = layer.blob.length;
  for (let i = 0; i < 40; i++) layer.add(randomBytes(100_000));
  const contents = layer.open();
  await contents.read(files[20] as number, 0, Buffer.alloc(10));
  const folder = join(dir, 'lazy');
  await expect.poll(() => verifyContents({ folder }).fetched, { timeout: 120_000 }).toBe(40);
  expect(layer.ranges.length).toBeLessThan(6);
  expect(Math.max(...layer.ranges.map(({ offset, length }) => offset + length))).toBe(layer.prefetch);
  // The next process fetches nothing of them again.
  const before = layer.ranges.length;
  await layer.open().read(files[0] as number, 0, Buffer.alloc(10));
  expect(layer.ranges.length).toBe(before);
});

test('a registry that fails while files are fetched ahead is nothing to those who read others', async () => {
  const layer = new Layer();
  const small = layer.add(randomBytes(1000));
  for (let i = 0; i < 30; i++) layer.add(randomBytes(1_000_000));
  layer.prefetch = layer.blob.length;
  const contents = layer.open();
  await contents.read(small, 0, Buffer.alloc(10));
  layer.failure = new Error('the registry is gone');
  await contents.read(small, 0, Buffer.alloc(10));
  expect(verifyContents({ folder: join(dir, 'lazy') }).forgotten).toBe(0);
});

test('a landmark is found by its name', () => {
  const entries = (name: string) => [{ entry: { path: name }, chunks: [{ at: 77 }] }] as never;
  expect(
    ['.prefetch.landmark', './.prefetch.landmark', '.no.prefetch.landmark', 'a/.prefetch.landmark'].map(
      (name) => prefetchEnd(entries(name)),
    ),
  ).toEqual([77, 77, undefined, undefined]);
});

test('verifying forgets what does not hold, and it is fetched again', async () => {
  const layer = new Layer();
  const parts = [randomBytes(1000), randomBytes(1000), randomBytes(1000)];
  const files = parts.map((part) => layer.add(part));
  const read = async (number: number) => {
    const out = Buffer.alloc(1000);
    await layer.open().read(files[number] as number, 0, out);
    return out;
  };
  await read(0);
  const folder = join(dir, 'lazy');
  expect(verifyContents({ folder })).toEqual({ fetched: 3, forgotten: 0 });
  const fd = openSync(join(folder, 'data'), 'r+');
  writeSync(fd, 'damaged', 1500);
  closeSync(fd);
  expect(verifyContents({ folder })).toEqual({ fetched: 3, forgotten: 1 });
  expect(verifyContents({ folder })).toEqual({ fetched: 2, forgotten: 0 });
  expect(await read(1)).toEqual(parts[1]);
  expect(verifyContents({ folder })).toEqual({ fetched: 3, forgotten: 0 });
});

test('nodes of large file numbers have numbers of their own', () => {
  const numbers = new NodeNumbers();
  const inodes = [1n, 2n ** 40n - 1n, 2n ** 40n, 2n ** 40n + 1n, 2n ** 63n];
  const given = [1, 2].flatMap((layer) => inodes.map((ino) => numbers.of(layer, { ino })));
  expect(new Set(given).size).toBe(10);
  expect([1, 2].flatMap((layer) => inodes.map((ino) => numbers.of(layer, { ino })))).toEqual(given);
  expect(given.every((number) => number > 1n && number < 2n ** 64n)).toBe(true);
});
