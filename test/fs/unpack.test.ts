import { execFileSync } from 'node:child_process';
import { chmodSync, linkSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openView } from '../../src/fs/open.ts';
import { lutimesNs, makedev, mknod, S_IFCHR } from '../../src/linux/libc.ts';
import { endOfArchive, header, padding, type TarHeader } from '../../src/tar/writer.ts';
import { build, copy, kernelLines, layers, lines, paths, plant, scratch } from './trees.ts';

const add = { unpack: true };

/** An archive as no tar program would write it. */
function archive(...entries: (Partial<TarHeader> & { path: string; text?: string })[]): Buffer {
  const parts: Buffer[] = [];
  for (const { text = '', ...entry } of entries) {
    const full = { type: 'file' as const, mode: 0o644, uid: 0, gid: 0, mtimeNs: 1_000_000_000n, ...entry };
    parts.push(header({ ...full, size: Buffer.byteLength(text) }), Buffer.from(text), padding(text.length));
  }
  return Buffer.concat([...parts, endOfArchive]);
}

describe('ADD of an archive', () => {
  test.each([
    ['plain', []],
    ['gzip', ['--gzip']],
    ['bzip2', ['--bzip2']],
    ['xz', ['--xz']],
    ['zstd', ['--zstd']],
  ])('unpacks a %s tar with all that is in it', async (_, flags) => {
    using tmp = scratch();
    const tree = plant(tmp.path('tree'), {
      'd/f': { text: 'x', uid: 5, gid: 6, mode: 0o4755 },
      'd/l': '-> f',
      e: null,
    });
    linkSync(`${tree}/d/f`, `${tree}/same`);
    mknod(`${tree}/null`, S_IFCHR | 0o600, makedev(1, 3));
    writeFileSync(`${tree}/holes`, 'x');
    truncateSync(`${tree}/holes`, 4 << 20);
    chmodSync(`${tree}/e`, 0o1777);
    lutimesNs(`${tree}/d/f`, 0n, 1_234_567_890_987_654_321n);
    plant(tmp.path('ctx'), {});
    const how = ['--sparse', '--format=posix', '--xattrs', ...flags];
    execFileSync('tar', ['-C', tree, ...how, '-cf', tmp.path('ctx/t'), '.']);
    await build(tmp.path('up'), [], [copy(layers(tmp.path('ctx')), '/t', '/x/', add)]);
    const unpacked = lines(openView(layers(tmp.path('up', 'x'))), { times: true });
    expect(unpacked).toEqual(lines(openView(layers(tree)), { times: true }));
    expect(statSync(tmp.path('up/x/same')).ino).toBe(statSync(tmp.path('up/x/d/f')).ino);
    expect(statSync(tmp.path('up/x/holes')).blocks).toBeLessThan(64);
  });

  test('copies what is no archive as it is', async () => {
    using tmp = scratch();
    const files = { text: 'hello', empty: '', zeros: '\0'.repeat(2048), long: 'x'.repeat(4000) };
    const dir = plant(tmp.path('ctx'), files);
    writeFileSync(`${dir}/text.gz`, gzipSync('just text'));
    writeFileSync(`${dir}/bad.gz`, Buffer.from([0x1f, 0x8b, 8, 0, 1, 2, 3]));
    const names = ['bad.gz', 'empty', 'long', 'text', 'text.gz', 'zeros'];
    await build(tmp.path('up'), [], [copy(layers(dir), '/*', '/x/', add)]);
    expect(paths(layers(tmp.path('up', 'x')))).toEqual(names.map((name) => `/${name}`));
    for (const name of names)
      expect(readFileSync(tmp.path('up/x', name))).toEqual(readFileSync(`${dir}/${name}`));
  });

  test('merges over what is there, below it and through its links', async () => {
    using tmp = scratch();
    const low = plant(tmp.path('low'), {
      'usr/lib/old': 'o',
      lib: '-> usr/lib',
      'a/f': 'old',
      'b/x': 'x',
      c: 'file',
      'hard/target': 't',
    });
    const dir = plant(tmp.path('ctx'), {});
    writeFileSync(
      `${dir}/t`,
      archive(
        { path: 'lib/new', text: 'n' },
        { path: 'a', type: 'dir', mode: 0o700 },
        { path: 'a/f', text: 'new' },
        { path: 'b', text: 'a file now' },
        { path: 'c', type: 'dir', mode: 0o755 },
        { path: 'c/in', text: 'i' },
        { path: 'implied/deep/f', text: 'f' },
        { path: 'hard/link', type: 'hardlink', link: 'hard/target' },
      ),
    );
    await build(tmp.path('up'), [low], [copy(layers(dir), '/t', '/', add)]);
    const dirs = [tmp.path('up'), low];
    const seen = lines(openView(layers(...dirs)));
    expect(await kernelLines(dirs)).toEqual(seen);
    expect(seen).toEqual([
      '/a dir 700 0:0',
      '/a/f file 644 0:0 "new"',
      '/b file 644 0:0 "a file now"',
      '/c dir 755 0:0',
      '/c/in file 644 0:0 "i"',
      '/hard dir 755 0:0',
      '/hard/link file 644 0:0 "t"',
      '/hard/target file 644 0:0 "t"',
      '/implied dir 755 0:0',
      '/implied/deep dir 755 0:0',
      '/implied/deep/f file 644 0:0 "f"',
      '/lib symlink 777 0:0 -> usr/lib',
      '/usr dir 755 0:0',
      '/usr/lib dir 755 0:0',
      '/usr/lib/new file 644 0:0 "n"',
      '/usr/lib/old file 644 0:0 "o"',
    ]);
  });

  test('an owner that is asked for goes for all entries', async () => {
    using tmp = scratch();
    const dir = plant(tmp.path('ctx'), {});
    writeFileSync(`${dir}/t`, archive({ path: 'd/f', text: 'x', uid: 1, gid: 2 }));
    await build(tmp.path('up'), [], [copy(layers(dir), '/t', '/x/', { ...add, owner: { user: { id: 7 } } })]);
    expect(lines(openView(layers(tmp.path('up'))))).toEqual([
      '/x dir 755 7:7',
      '/x/d dir 755 7:7',
      '/x/d/f file 644 7:7 "x"',
    ]);
  });
});

describe('a hostile archive', () => {
  const evil = { type: 'symlink' as const, mode: 0o777 };
  test.each<[string, Parameters<typeof archive>]>([
    ['leaves with ..', [{ path: '../victim', text: 'evil' }]],
    ['leaves with .. further on', [{ path: 'a/../../victim', text: 'evil' }]],
    [
      'links hard to ..',
      [
        { path: 'ok', text: 'x' },
        { path: 'l', type: 'hardlink', link: '../victim' },
      ],
    ],
    ['links hard to nothing', [{ path: 'l', type: 'hardlink', link: 'nothing' }]],
    [
      'writes below a file',
      [
        { path: 'f', text: 'x' },
        { path: 'f/g', text: 'x' },
      ],
    ],
    [
      'loops',
      [
        { path: 'l', ...evil, link: 'l' },
        { path: 'l/x', text: 'x' },
      ],
    ],
    [
      'holds a whiteout device',
      [
        { path: 'ok', text: 'x' },
        { path: 'w', type: 'char', devmajor: 0, devminor: 0 },
      ],
    ],
  ])('that %s is refused', async (_, entries) => {
    using tmp = scratch();
    const dir = plant(tmp.path('ctx'), {});
    writeFileSync(`${dir}/t`, archive(...entries));
    const done = build(tmp.path('up'), [], [copy(layers(dir), '/t', '/x/', add)]);
    await expect(done).rejects.toMatchObject({
      code: expect.stringMatching(/invalid|unsupported/),
      hop: 'file',
    });
    expect(openView(layers(tmp.path('up'))).lstat('/victim')).toBeUndefined();
  });

  test('cut short or damaged is invalid, and says which file', async () => {
    using tmp = scratch();
    const dir = plant(tmp.path('ctx'), {});
    const whole = archive({ path: 'a', text: 'x'.repeat(5000) }, { path: 'b', text: 'y' });
    const damaged = Buffer.from(whole);
    damaged.fill(0x55, 512 + 5120, 512 + 5120 + 300);
    for (const bytes of [whole.subarray(0, 3000), damaged, gzipSync(whole.subarray(0, 3000))]) {
      writeFileSync(`${dir}/t`, bytes);
      const done = build(tmp.path('up'), [], [copy(layers(dir), '/t', '/x/', add)]);
      await expect(done).rejects.toMatchObject({
        code: 'invalid',
        hop: 'file',
        message: expect.stringMatching(/^unpacking \/t: /),
      });
    }
  });

  test('absolute paths and links stay inside the destination', async () => {
    using tmp = scratch();
    const outside = plant(tmp.path('outside'), { victim: 'old' });
    const low = plant(tmp.path('low'), { 'etc/passwd': 'old', 'x/': null });
    const dir = plant(tmp.path('ctx'), {});
    writeFileSync(
      `${dir}/t`,
      archive(
        { path: 'abs', ...evil, link: outside },
        { path: 'abs/victim', text: 'evil' },
        { path: 'up', ...evil, link: '../../../../../../../../etc' },
        { path: 'up/passwd', text: 'evil' },
      ),
    );
    await build(tmp.path('up'), [low], [copy(layers(dir), '/t', '/x/', add)]);
    const view = openView(layers(tmp.path('up'), low));
    expect(readFileSync(`${outside}/victim`, 'utf8')).toBe('old');
    expect(readFileSync(view.lstat('/etc/passwd')!.hostPath, 'utf8')).toBe('old');
    expect(view.lstat(`/x${outside}/victim`)?.type).toBe('file');
    expect(view.lstat('/x/etc/passwd')?.type).toBe('file');
  });

  test('of any shape never writes outside its destination', async () => {
    const name = fc.constantFrom('a', 'b', '..', '.', 'c', '/etc', '');
    const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
    const type = fc.constantFrom(
      'file' as const,
      'dir' as const,
      'symlink' as const,
      'hardlink' as const,
      'fifo' as const,
    );
    const entry = fc.record({ path, type, link: path });
    await fc.assert(
      fc.asyncProperty(fc.array(entry, { minLength: 1, maxLength: 8 }), async (entries) => {
        using tmp = scratch();
        const dir = plant(tmp.path('ctx'), {});
        writeFileSync(
          `${dir}/t`,
          archive(...entries.map((one) => ({ ...one, text: one.type === 'file' ? 'x' : '' }))),
        );
        plant(tmp.path('up'), { 'x/y/': null, 'etc/f': 'old', a: 'old' });
        await build(tmp.path('up'), [], [copy(layers(dir), '/t', '/x/y/', add)]).catch((err) => {
          if (!['invalid', 'unsupported'].includes(err.code)) throw err;
        });
        const outside = lines(openView(layers(tmp.path('up')))).filter((line) => !line.startsWith('/x/y'));
        expect(outside).toEqual([
          '/a file 644 0:0 "old"',
          '/etc dir 755 0:0',
          '/etc/f file 644 0:0 "old"',
          '/x dir 755 0:0',
        ]);
        expect(paths(layers(tmp.dir)).filter((at) => !/^\/(up|ctx)(\/|$)/.test(at))).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });
});
