import { execFileSync } from 'node:child_process';
import {
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lsetxattr } from '../../src/linux/libc.ts';
import { cleanTarPath } from '../../src/tar/parser.ts';
import { expand, readTar } from './kit.ts';

let dir: string;
const long = `${'d'.repeat(90)}/${'e'.repeat(90)}/${'f'.repeat(120)}`;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-tar-'));
  mkdirSync(join(dir, 'sub'));
  writeFileSync(join(dir, 'sub/hello'), 'hello\n', { mode: 0o640 });
  linkSync(join(dir, 'sub/hello'), join(dir, 'sub/twin'));
  symlinkSync('../sub/hello', join(dir, 'sub/link'));
  mkdirSync(join(dir, long, '..'), { recursive: true });
  writeFileSync(join(dir, long), 'deep');
  writeFileSync(join(dir, 'ünïcode'), 'x');
  lsetxattr(join(dir, 'sub/hello'), 'user.note', Buffer.from([0, 1, 0x3d, 0x0a]));
  const fd = openSync(join(dir, 'holes'), 'w');
  for (let i = 0; i < 40; i++) writeSync(fd, Buffer.alloc(4096, i + 1), 0, 4096, i * 65536);
  closeSync(fd);
  truncateSync(join(dir, 'holes'), 40 * 65536);
  writeFileSync(join(dir, 'one-hole'), '');
  truncateSync(join(dir, 'one-hole'), 1 << 20);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function gnuTar(...args: string[]): Buffer {
  return execFileSync('tar', ['-C', dir, '--sort=name', '-cf', '-', ...args], { maxBuffer: 1 << 28 });
}

describe('archives that GNU tar makes', () => {
  for (const format of ['gnu', 'pax', 'oldgnu', 'posix'] as const) {
    test(`format ${format}: files, folders, links, long and non-ASCII names`, () => {
      for (const step of [7, 512, 10240, 1 << 20]) {
        const entries = readTar(gnuTar(`--format=${format}`, '.'), step);
        const byPath = new Map(entries.map((entry) => [entry.path, entry]));
        expect(byPath.get('')?.type).toBe('dir');
        expect(byPath.get('sub/hello')).toMatchObject({ type: 'file', mode: 0o640, size: 6 });
        expect(byPath.get('sub/hello')?.body.toString()).toBe('hello\n');
        expect(byPath.get('sub/twin')).toMatchObject({ type: 'hardlink', link: 'sub/hello', size: 0 });
        expect(byPath.get('sub/link')).toMatchObject({ type: 'symlink', link: '../sub/hello' });
        expect(byPath.get(long)?.body.toString()).toBe('deep');
        expect(byPath.get('ünïcode')?.body.toString()).toBe('x');
      }
    });
  }

  test('times in nanoseconds, and extended attributes with any bytes', () => {
    const [entry] = readTar(
      gnuTar('--format=pax', '--xattrs', '--xattrs-include=*', '--mtime=@1.000000025', 'sub/hello'),
    );
    expect(entry?.mtimeNs).toBe(1_000_000_025n);
    expect(entry?.xattrs.get('user.note')).toEqual(Buffer.from([0, 1, 0x3d, 0x0a]));
    const [old] = readTar(gnuTar('--format=gnu', '--mtime=@-86400', 'sub/hello'));
    expect(old?.mtimeNs).toBe(-86_400_000_000_000n);
  });

  test.each([
    ['gnu', []],
    ['pax', ['--sparse-version=0.0']],
    ['pax', ['--sparse-version=0.1']],
    ['pax', ['--sparse-version=1.0']],
  ])('sparse files, format %s %s', (format, more) => {
    for (const step of [100, 1 << 20]) {
      const [holes, hole] = readTar(gnuTar(`--format=${format}`, '-S', ...more, 'holes', 'one-hole'), step);
      expect(holes).toMatchObject({ path: 'holes', type: 'file', size: 40 * 65536 });
      expect(holes?.body.length).toBe(40 * 4096);
      const whole = expand(holes!);
      for (let i = 0; i < 40; i++) {
        expect(whole[i * 65536]).toBe(i + 1);
        expect(whole[i * 65536 + 4096]).toBe(0);
      }
      expect(hole).toMatchObject({ path: 'one-hole', size: 1 << 20 });
      expect(hole?.body.length).toBe(0);
    }
  });

  test('large numbers as base-256', () => {
    const [entry] = readTar(
      gnuTar('--format=gnu', '--owner=:3000000000', '--group=:4000000000', 'sub/hello'),
    );
    expect(entry).toMatchObject({ uid: 3_000_000_000, gid: 4_000_000_000 });
  });

  test('v7 archives have neither owner names nor a magic', () => {
    const entries = readTar(gnuTar('--format=v7', 'sub'));
    expect(entries.map(({ path, type }) => `${type} ${path}`)).toContain('dir sub');
    expect(entries[0]?.uname).toBe('');
  });

  test('an archive without closing blocks is whole; one cut inside an entry is not', () => {
    const archive = gnuTar('--format=gnu', 'sub/hello');
    expect(readTar(archive.subarray(0, 1024))).toHaveLength(1);
    for (const size of [100, 512, 514, 517]) {
      expect(() => readTar(archive.subarray(0, size))).toThrowError(/ends in the middle of an entry/);
    }
  });
});

describe('archives that lie', () => {
  const sample = () => gnuTar('--format=ustar', 'sub/hello');
  const resum = (archive: Buffer) => {
    archive.fill(' ', 148, 156);
    let sum = 0;
    for (let i = 0; i < 512; i++) sum += archive[i]!;
    archive.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    return archive;
  };

  test('a wrong checksum', () => {
    const archive = sample();
    archive[0]! ^= 1;
    expect(() => readTar(archive)).toThrowError(
      expect.objectContaining({
        code: 'corrupt',
        hop: 'context',
        message: expect.stringContaining('checksum'),
      }),
    );
  });

  test('the hop of errors is the caller’s', () => {
    expect(() => readTar(Buffer.alloc(512, 1), 512, { hop: 'store' })).toThrowError(
      expect.objectContaining({ hop: 'store' }),
    );
  });

  test('absurd and negative sizes', () => {
    const huge = sample();
    huge.fill(0xff, 125, 136);
    huge[124] = 0x80;
    expect(() => readTar(resum(huge))).toThrowError(/size is not a sound number/);
    const negative = sample();
    negative.fill(0xff, 124, 136);
    expect(() => readTar(resum(negative))).toThrowError(/size is not a sound number/);
    const large = sample();
    large.write('77777777777\0', 124);
    expect(() => readTar(resum(large), 512, { maxEntrySize: 1 << 30 })).toThrowError(
      /claims 8589934591 bytes/,
    );
  });

  test('a PAX header too large to hold', () => {
    const archive = sample();
    archive[156] = 0x78;
    archive.write('00077777777\0', 124);
    expect(() => readTar(resum(archive))).toThrowError(/an extended header claims/);
  });

  test('a lone zero block between entries, an unknown type, a nameless file', () => {
    const one = sample().subarray(0, 1024);
    expect(() => readTar(Buffer.concat([one, Buffer.alloc(512), one]))).toThrowError(/lone zero block/);
    const odd = Buffer.from(one);
    odd[156] = 0x40;
    expect(() => readTar(resum(odd))).toThrowError(expect.objectContaining({ code: 'unsupported' }));
    const nameless = Buffer.from(one);
    nameless.fill(0, 0, 100);
    expect(() => readTar(resum(nameless))).toThrowError(/no name/);
  });
});

test('paths come clean, and keep what climbs for the writer to refuse', () => {
  expect(cleanTarPath('./a//b/./c/')).toBe('a/b/c');
  expect(cleanTarPath('/etc/passwd')).toBe('etc/passwd');
  expect(cleanTarPath('../../x')).toBe('../../x');
  expect(cleanTarPath('./')).toBe('');
  expect(cleanTarPath('a/..b/.c')).toBe('a/..b/.c');
});
