import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import zlib from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { decompress, decompressFile, detectCompression } from '../../src/tar/decompress.ts';

const plain = Buffer.concat([randomBytes(300_000), Buffer.alloc(700_000, 'abc')]);
const run = (program: string, ...args: string[]) =>
  execFileSync(program, args, { input: plain, maxBuffer: 1 << 26 });
const forms: Record<string, Buffer> = {
  none: plain,
  gzip: zlib.gzipSync(plain),
  zstd: zlib.zstdCompressSync(plain),
  bzip2: run('bzip2', '-c'),
  xz: run('xz', '-c'),
};
const dir = mkdtempSync(join(tmpdir(), 'drydock-decompress-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function* portions(data: Buffer, step: number) {
  for (let at = 0; at < data.length; at += step) yield data.subarray(at, at + step);
}
async function all(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts);
}

describe.each(Object.keys(forms))('%s', (kind) => {
  const data = forms[kind]!;

  test('is told by its first bytes and made plain', async () => {
    expect(detectCompression(data.subarray(0, 6))).toBe(kind);
    expect((await all(decompress(portions(data, 60_000)))).equals(plain)).toBe(true);
    writeFileSync(join(dir, kind), data);
    expect((await all(decompressFile(join(dir, kind)))).equals(plain)).toBe(true);
  });

  test('several compressed streams in a row are one', async () => {
    const twice = await all(decompress(portions(Buffer.concat([data, data]), 60_000)));
    expect(twice.length).toBe(2 * plain.length);
  });

  test.skipIf(kind === 'none')('cut short is an error', async () => {
    const cut = data.subarray(0, data.length - 20);
    await expect(all(decompress(portions(cut, 60_000), { hop: 'store' }))).rejects.toMatchObject({
      code: 'corrupt',
      hop: 'store',
      message: expect.stringContaining(kind),
    });
  });

  test('an error of the source comes through, and stopping early ends the source', async () => {
    async function* broken() {
      yield data.subarray(0, 50_000);
      throw new Error('the line went dead');
    }
    await expect(all(decompress(broken()))).rejects.toThrowError('the line went dead');
    let ended = false;
    async function* endless() {
      try {
        for (;;) yield* portions(data, 60_000);
      } finally {
        ended = true;
      }
    }
    for await (const chunk of decompress(endless())) if (chunk.length > 0) break;
    expect(ended).toBe(true);
  });
});

test('streams shorter than any magic are plain', async () => {
  expect((await all(decompress(portions(Buffer.from('\x1f'), 1)))).toString()).toBe('\x1f');
  expect(await all(decompress(portions(Buffer.alloc(0), 1)))).toHaveLength(0);
});

test('a missing program is named, with the remedy', async () => {
  const path = process.env.PATH;
  process.env.PATH = '/nowhere';
  try {
    await expect(all(decompress(portions(forms.xz!, 60_000)))).rejects.toMatchObject({
      code: 'unsupported',
      hint: 'Install it: apt-get install xz-utils',
    });
  } finally {
    process.env.PATH = path;
  }
});
