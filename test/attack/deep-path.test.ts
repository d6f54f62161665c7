/**
 * Archives whose entries are small and ask for much: paths of thousands of parts, names no file can have, chains of
 * links, files that are holes of terabytes. What cannot be made is refused at once; what can costs what is in it.
 */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DrydockError } from '../../src/errors/error.ts';
import { checksum } from '../../src/fs/checksum.ts';
import { specOfMounts } from '../../src/fs/view.ts';
import { packSnapshot } from '../../src/layer/blobs.ts';
import { removeTrees } from '../../src/store/local/tree.ts';
import { sparseMap } from '../../src/tar/sparse.ts';
import { endOfArchive, header, padding, type TarHeader } from '../../src/tar/writer.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { lease, withStore } from '../layer/kit.ts';
import { see, unpack } from '../layer/tars.ts';
import { readTar } from '../tar/kit.ts';

type Spec = Partial<TarHeader> & { path: string; body?: Buffer | string };

function tar(...specs: Spec[]): Buffer {
  const parts = specs.flatMap(({ body = '', ...rest }) => {
    const bytes = Buffer.from(body);
    const known = { type: 'file', mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n, size: bytes.length } as const;
    return [header({ ...known, ...rest }), bytes, padding(bytes.length)];
  });
  return Buffer.concat([...parts, endOfArchive]);
}

const tebibyte = 1024 ** 4;

/** A file of 10 TiB with a few bytes at its start and somewhere in it. */
function hole(path: string): Spec {
  const regions = [
    { offset: 0, length: 5 },
    { offset: 3 * tebibyte, length: 3 },
  ];
  const map = sparseMap(regions);
  const body = Buffer.concat([map, Buffer.from('beginmid')]);
  return { path, body, size: body.length, realSize: 10 * tebibyte };
}

/** The CPU time of this process that something takes, in ms. */
async function cpuOf<T>(what: () => T | Promise<T>): Promise<[T, number]> {
  const started = process.cpuUsage();
  const result = await what();
  const { user, system } = process.cpuUsage(started);
  return [result, (user + system) / 1000];
}

const dockerfile = { path: 'Dockerfile', body: 'FROM scratch\nCOPY . /\n' };
const deep = (parts: number, name = 'a') => new Array(parts).fill(name).join('/');

describe('a build context', () => {
  let daemon: TestDaemon;
  beforeAll(async () => {
    daemon = await startTestDaemon();
  });
  afterAll(() => daemon.stop());

  const build = async (body: Buffer) => {
    const answer = await daemon.ask('POST', '/build', {
      body,
      headers: { 'content-type': 'application/x-tar' },
    });
    const last = answer.status === 200 ? answer.lines<{ error?: string }>().at(-1)?.error : undefined;
    return { status: answer.status, error: last ?? (answer.status === 200 ? undefined : answer.text) };
  };

  test.each<[string, Spec, RegExp]>([
    ['a path of 32,768 parts', { path: deep(32_768) }, /path of 65535 bytes is longer than the 4095/],
    ['a name of 256 bytes', { path: `a/${'n'.repeat(256)}/b` }, /name of 256 bytes is longer than the 255/],
    ['a target of 5,000 bytes', { path: 'l', type: 'symlink', link: deep(2500) }, /longer than the 4095/],
    ['a hard link to such a path', { path: 'l', type: 'hardlink', link: deep(2500) }, /longer than the 4095/],
  ])('%s is refused, with a hint', async (_, spec, why) => {
    const [{ error }, cpu] = await cpuOf(() => build(tar(dockerfile, spec)));
    expect(error).toMatch(why);
    expect(error).toMatch(/shorter names/);
    expect(cpu).toBeLessThan(5000);
  });

  test('also in an archive that ADD unpacks', async () => {
    const inner = tar({ path: deep(32_768) });
    const body = tar(
      { path: 'Dockerfile', body: 'FROM scratch\nADD a.tar /\n' },
      { path: 'a.tar', body: inner },
    );
    expect((await build(body)).error).toMatch(/longer than the 4095 that Linux takes/);
  });

  test('the deepest folders that there can be are built like others', async () => {
    const [{ error }, cpu] = await cpuOf(() =>
      build(tar(dockerfile, { path: `${deep(400)}/file`, body: 'x' })),
    );
    expect(error).toBeUndefined();
    expect(cpu).toBeLessThan(20_000);
  });

  test('10 TiB of hole cost nothing: neither disk nor time', async () => {
    const [{ error }, cpu] = await cpuOf(() => build(tar(dockerfile, hole('big'))));
    expect(error).toBeUndefined();
    expect(cpu).toBeLessThan(10_000);
    const usage = (await daemon.ask('GET', '/v1.51/system/df')).json<{ LayersSize: number }>();
    expect(usage.LayersSize).toBeLessThan(10 << 20);
  });
});

describe('a layer', () => {
  test('of a path that no file can have is corrupt at once', async () => {
    await withStore('native', async (store) => {
      await expect(unpack(store, undefined, tar({ path: deep(32_768) }))).rejects.toMatchObject({
        code: 'invalid',
        hint: expect.stringContaining('shorter names'),
      });
    });
  });

  test('of 40 links with 2,000 parts each is not followed for ever', async () => {
    const links = Array.from({ length: 40 }, (_, i): Spec => {
      const link = `${deep(500, '.')}/${deep(400, 'd/..')}/l${i + 1}`;
      return { path: `l${i}`, type: 'symlink', link };
    });
    await withStore('native', async (store) => {
      const [, cpu] = await cpuOf(() =>
        expect(unpack(store, undefined, tar(...links, { path: 'l0/file' }))).rejects.toMatchObject({
          code: 'corrupt',
        }),
      );
      expect(cpu).toBeLessThan(5000);
    });
  });

  test('whose holes are left out is read back by GNU tar and Python, with all of its size', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'drydock-sparse-'));
    try {
      const archive = join(dir, 'layer.tar');
      await withStore('native', async (store) => {
        const key = await unpack(store, undefined, tar(hole('big'), { path: 'small', body: 'after it' }));
        const { descriptor } = await packSnapshot(store, key, {
          compression: { type: 'uncompressed' },
          store: 'blob',
          lease,
        });
        writeFileSync(archive, await store.content.bytes(descriptor.digest));
      });
      expect(statSync(archive).size).toBeLessThan(1 << 20);
      execFileSync('tar', ['-xSf', archive, '-C', dir, '--no-same-owner']);
      const { size, blocks } = statSync(join(dir, 'big'));
      expect([size, blocks * 512 < 1 << 20]).toEqual([10 * tebibyte, true]);
      expect(readFileSync(join(dir, 'small'), 'utf8')).toBe('after it');
      const program = `import sys, tarfile
for m in tarfile.open(sys.argv[1]): print(m.name.lstrip('./'), m.size)`;
      const listed = execFileSync('python3', ['-c', program, archive], { encoding: 'utf8' });
      expect(listed.trim().split('\n')).toEqual(expect.arrayContaining([`big ${10 * tebibyte}`, 'small 8']));
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test('whose holes are left out is read back by us, with its bytes where they were', async () => {
    await withStore('native', async (store) => {
      const pack = async (key: string) => {
        const compression = { type: 'uncompressed' } as const;
        const { descriptor } = await packSnapshot(store, key, { compression, store: 'blob', lease });
        return descriptor.digest;
      };
      const first = await pack(
        await unpack(store, undefined, tar(hole('big'), { path: 'small', body: 'after it' })),
      );
      const again = await unpack(store, undefined, await store.content.bytes(first));
      await see(store, again, (root) => {
        const { size, blocks } = statSync(`${root}/big`);
        expect([size, blocks * 512 < 1 << 20]).toEqual([10 * tebibyte, true]);
        const fd = openSync(`${root}/big`, 'r');
        const at = (offset: number, length: number) => {
          const buffer = Buffer.alloc(length);
          readSync(fd, buffer, 0, length, offset);
          return buffer.toString('latin1');
        };
        expect([at(0, 6), at(3 * tebibyte - 1, 5)]).toEqual(['begin\0', '\0mid\0']);
        closeSync(fd);
        expect(readFileSync(`${root}/small`, 'utf8')).toBe('after it');
      });
      expect(await pack(again)).toBe(first);
    });
  });

  test('of extended attributes larger than Linux has them is refused by name, and costs no memory', async () => {
    await withStore('native', async (store) => {
      const attribute = (size: number): Spec => ({
        path: 'x',
        xattrs: [['user.a', Buffer.alloc(size, 'b')]],
      });
      await expect(unpack(store, undefined, tar(attribute(65_537)))).rejects.toMatchObject({
        message: expect.stringMatching(
          /x: its extended attribute "user\.a" has 65537 bytes, more than the 65536/,
        ),
        hint: expect.stringContaining('without this attribute'),
      });
      const large = tar(attribute(64 << 20));
      const { heapUsed, external } = process.memoryUsage();
      await expect(unpack(store, undefined, large)).rejects.toBeInstanceOf(DrydockError);
      const after = process.memoryUsage();
      expect(after.heapUsed + after.external - heapUsed - external).toBeLessThan(48 << 20);
    });
  });

  test('with 10 TiB of hole is unpacked, digested and packed again without it', async () => {
    await withStore('native', async (store) => {
      const [, cpu] = await cpuOf(async () => {
        const key = await unpack(store, undefined, tar(hole('big')));
        const { size, blocks } = await see(store, key, (root) => statSync(`${root}/big`));
        expect([size, blocks * 512 < 1 << 20]).toEqual([10 * tebibyte, true]);
        const view = await store.snapshots.view(key);
        const spec = specOfMounts(view.mounts);
        const ctx = { aborted: () => false };
        const { digest } = checksum({ spec, selectors: [{ path: '/' }], statDb: '' }, ctx);
        expect(digest).toMatch(/^sha256:/);
        await view.release();
      });
      expect(cpu).toBeLessThan(5000);
    });
  });

  test('what has long names for good reasons is taken: 255 bytes, a whiteout of such, names that are not UTF-8', () => {
    const name = 'ü'.repeat(127);
    const paths = [`${name}x`, `d/.wh.${name}x`, `d/${'n'.repeat(255)}`];
    expect(readTar(tar(...paths.map((path) => ({ path })))).map(({ path }) => path)).toEqual(paths);
  });
});

describe('tar archives at random', () => {
  test('are read or refused, and nothing else', () => {
    const sound = tar(
      dockerfile,
      hole('big'),
      { path: deep(100, 'long'), type: 'dir' },
      { path: 'l', type: 'symlink', link: 'Dockerfile' },
      { path: 'x', xattrs: [['user.a', Buffer.from('b')]] },
    );
    const change = fc.tuple(fc.nat({ max: sound.length - 1 }), fc.nat({ max: 255 }));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 6 }), fc.boolean(), (changes, mend) => {
        const bytes = Buffer.from(sound);
        for (const [at, value] of changes) bytes[at] = value;
        if (mend) for (let at = 0; at < bytes.length; at += 512) mendChecksum(bytes, at);
        try {
          readTar(bytes);
        } catch (err) {
          expect(err).toBeInstanceOf(DrydockError);
        }
      }),
      { numRuns: 200 },
    );
  });
});

/** Gives a block that may be a header the checksum that makes it one. */
function mendChecksum(bytes: Buffer, at: number): void {
  if (bytes.toString('latin1', at + 257, at + 262) !== 'ustar') return;
  bytes.write('        ', at + 148);
  let sum = 0;
  for (let i = 0; i < 512; i++) sum += bytes[at + i] as number;
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148);
}

test('folders that a step has made deeper than any path are removed', () => {
  const root = mkdtempSync(join(tmpdir(), 'drydock-deep-'));
  for (let i = 0; i < 30; i++) {
    mkdirSync(`${root}/above`);
    if (i > 0) renameSync(`${root}/tree`, `${root}/above/${'n'.repeat(250)}`);
    renameSync(`${root}/above`, `${root}/tree`);
  }
  removeTrees({ paths: [root] });
  expect(existsSync(root)).toBe(false);
});
