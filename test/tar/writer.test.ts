import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { lgetxattr } from '../../src/linux/libc.ts';
import { TarParser } from '../../src/tar/parser.ts';
import { endOfArchive, header, padded, padding, type TarHeader } from '../../src/tar/writer.ts';
import { readTar } from './kit.ts';

function archive(...entries: (TarHeader & { body?: Buffer })[]): Buffer {
  const parts = entries.flatMap(({ body = Buffer.alloc(0), ...entry }) => [
    header({ ...entry, size: body.length }),
    body,
    padding(body.length),
  ]);
  return Buffer.concat([...parts, endOfArchive]);
}
const base = { mode: 0o644, uid: 0, gid: 0, size: 0, mtimeNs: 1_700_000_000_000_000_000n };

test('what fits a plain header gets one block, laid out as image layers have it', () => {
  const block = header({ ...base, path: 'etc', type: 'dir', mode: 0o755 });
  expect(block.length).toBe(512);
  expect(block.toString('latin1', 0, 5)).toBe('etc/\0');
  expect(block.toString('latin1', 100, 108)).toBe('0000755\0');
  expect(block.toString('latin1', 136, 148)).toBe('14524770400\0');
  expect(block.toString('latin1', 257, 265)).toBe('ustar\x0000');
  expect(block.toString('latin1', 329, 337)).toBe('0000000\0');
  expect(block[155]).toBe(0x20);
});

test('GNU tar unpacks what does not fit: long and non-ASCII names, ns times, attributes', () => {
  const dir = mkdtempSync(join(tmpdir(), 'drydock-writer-'));
  try {
    const path = `${'a'.repeat(120)}/ü/${'b'.repeat(60)}`;
    const file = archive(
      {
        ...base,
        path,
        type: 'file',
        body: Buffer.from('body'),
        mtimeNs: 1_700_000_000_123_000_000n,
        xattrs: [['user.x', Buffer.from([0, 10, 61, 255])]],
      },
      { ...base, path: 'hard', type: 'hardlink', link: path },
      { ...base, path: 'soft', type: 'symlink', link: `/${path}` },
    );
    writeFileSync(join(dir, 'a.tar'), file);
    execFileSync('tar', ['-C', dir, '--xattrs', '--xattrs-include=*', '-xf', join(dir, 'a.tar')]);
    expect(readFileSync(join(dir, path), 'utf8')).toBe('body');
    expect(statSync(join(dir, path), { bigint: true }).mtimeNs).toBe(1_700_000_000_123_000_000n);
    expect(lgetxattr(join(dir, path), 'user.x')).toEqual(Buffer.from([0, 10, 61, 255]));
    expect(statSync(join(dir, 'hard')).nlink).toBe(2);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('a file beyond 8 GiB has its size in a PAX record', () => {
  const [entry] = (() => {
    const seen: number[] = [];
    const parser = new TarParser({ entry: (e) => seen.push(e.size), data() {}, end() {} });
    parser.push(header({ ...base, path: 'big', type: 'file', size: 20e9 }));
    return seen;
  })();
  expect(entry).toBe(20e9);
});

const part = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 80 })
  .map((s) => s.replaceAll(/[/\0]/g, '_'))
  .filter((s) => s !== '.' && s !== '..' && s.isWellFormed());
const path = fc.array(part, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'));
const entry = fc.record({
  path,
  type: fc.constantFrom(
    'file' as const,
    'dir' as const,
    'symlink' as const,
    'hardlink' as const,
    'char' as const,
    'fifo' as const,
  ),
  mode: fc.nat(0o7777),
  uid: fc.nat(0xffffffff),
  gid: fc.nat(0xffffffff),
  mtimeNs: fc.bigInt(-(10n ** 19n), 10n ** 20n),
  target: path,
  devmajor: fc.nat(4095),
  devminor: fc.nat(0o7777777),
  xattrs: fc.dictionary(fc.stringMatching(/^user\.[a-z]{1,20}$/), fc.uint8Array({ maxLength: 300 })),
  body: fc.uint8Array({ maxLength: 2000 }),
});

test('whatever is written is read again', () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 6 }), fc.integer({ min: 1, max: 3000 }), (entries, step) => {
      const written = entries.map(({ target, body, xattrs, devmajor, devminor, ...rest }) => ({
        ...base,
        ...rest,
        link: rest.type === 'symlink' || rest.type === 'hardlink' ? target : undefined,
        devmajor: rest.type === 'char' ? devmajor : 0,
        devminor: rest.type === 'char' ? devminor : 0,
        xattrs: Object.entries(xattrs).map(([name, value]) => [name, Buffer.from(value)] as const),
        body: Buffer.from(rest.type === 'file' ? body : []),
      }));
      const read = readTar(archive(...written), step);
      expect(read).toHaveLength(written.length);
      for (const [i, want] of written.entries()) {
        const got = read[i]!;
        expect(got).toMatchObject({
          path: want.path,
          type: want.type,
          mode: want.mode,
          uid: want.uid,
          gid: want.gid,
          mtimeNs: want.mtimeNs,
          devmajor: want.devmajor,
          devminor: want.devminor,
          size: want.body.length,
        });
        expect(got.link).toBe(want.link);
        expect(got.body.equals(want.body)).toBe(true);
        expect([...got.xattrs].sort()).toEqual([...want.xattrs].map(([n, v]) => [n, v]).sort());
      }
    }),
    { numRuns: 150 },
  );
});

test('damaged archives and noise: only typed errors, in bounded time', () => {
  const sound = archive(
    {
      ...base,
      path: 'x'.repeat(150),
      type: 'file',
      body: Buffer.alloc(700, 1),
      xattrs: [['user.a', Buffer.from('b')]],
    },
    { ...base, path: 'dir', type: 'dir' },
    { ...base, path: 'l', type: 'symlink', link: '../../etc/passwd' },
  );
  const damage = fc.array(fc.tuple(fc.nat(sound.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 });
  const resum = (bytes: Buffer) => {
    // Sound checksums, so that damage reaches deeper than the first check.
    for (let at = 0; at + 512 <= bytes.length; at += 512) {
      if (bytes.toString('latin1', at + 257, at + 262) !== 'ustar') continue;
      bytes.fill(0x20, at + 148, at + 156);
      const sum = bytes.subarray(at, at + 512).reduce((a, b) => a + b, 0);
      bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
    }
    return bytes;
  };
  const feed = (bytes: Uint8Array, step: number) => {
    let data = 0;
    try {
      const parser = new TarParser({ entry() {}, data: (c) => (data += c.length), end() {} });
      for (let at = 0; at < bytes.length; at += step) parser.push(bytes.subarray(at, at + step));
      parser.finish();
    } catch (err) {
      expect(err).toMatchObject({
        name: 'DrydockError',
        code: expect.stringMatching(/^(corrupt|unsupported)$/),
      });
    }
    expect(data).toBeLessThanOrEqual(bytes.length);
  };
  fc.assert(
    fc.property(damage, fc.integer({ min: 1, max: 2000 }), fc.boolean(), (edits, step, fix) => {
      const bytes = Buffer.from(sound);
      for (const [at, value] of edits) bytes[at] = value;
      feed(fix ? resum(bytes) : bytes, step);
    }),
    { numRuns: 1500 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 4096 }), fc.integer({ min: 1, max: 600 }), feed), {
    numRuns: 300,
  });
});

test('padding fills whole blocks', () => {
  for (const size of [0, 1, 511, 512, 513, 1024]) {
    expect(size + padding(size).length).toBe(padded(size));
    expect(padded(size) % 512).toBe(0);
  }
});
