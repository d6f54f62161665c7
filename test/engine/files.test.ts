/** COPY, ADD and .dockerignore: what ends up where, with which owner and mode, as dockerd's BuildKit does it. */
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { closePool } from '../../src/workers/pool.ts';
import { Builds, type Files } from '../kit/builds.ts';

const builds = new Builds();
beforeAll(() => builds.open());
afterAll(async () => {
  await builds.close();
  await closePool();
});

const tree: Files = {
  'src/a.txt': 'a',
  'src/b.md': 'b',
  'src/d/c.txt': 'c',
  'src/d/e/f.txt': 'f',
  'src/run.sh': ['#!/bin/sh\n', 0o755],
  'src/link': '-> a.txt',
  'src/dlink': '-> d',
  'src/broken': '-> nowhere',
  'src/empty/': '',
  'other.txt': 'o',
};

describe('COPY', () => {
  test.each<[string, string, string[]]>([
    ['a folder’s contents', 'COPY src/d /x', ['/x/c.txt', '/x/e/', '/x/e/f.txt']],
    ['a file to a file, folders made on the way', 'COPY src/a.txt /x/y/z', ['/x/y/', '/x/y/z']],
    ['files into a folder', 'COPY src/a.txt src/b.md /x/', ['/x/a.txt', '/x/b.md']],
    ['what a wildcard finds', 'COPY src/*.txt src/[ab].md /x/', ['/x/a.txt', '/x/b.md']],
    ['a wildcard among folders', 'COPY src/*/*.txt /x/', ['/x/c.txt']],
    ['a wildcard that finds nothing beside a file', 'COPY src/no* other.txt /x/', ['/x/other.txt']],
    ['where a link leads', 'COPY src/link /x/l', ['/x/l']],
    ['the folder a link leads to', 'COPY src/dlink /x', ['/x/c.txt', '/x/e/', '/x/e/f.txt']],
    [
      'into the working folder',
      'WORKDIR /x\nCOPY src/a.txt .\nCOPY src/b.md ./r/',
      ['/x/a.txt', '/x/r/', '/x/r/b.md'],
    ],
    [
      'with --parents',
      'COPY --parents src/d/c.txt src/./d/e /x/',
      ['/x/d/', '/x/d/e/', '/x/d/e/f.txt', '/x/src/', '/x/src/d/', '/x/src/d/c.txt'],
    ],
    [
      'with --exclude',
      'COPY --exclude=*.txt --exclude=d src /x',
      ['/x/b.md', '/x/broken', '/x/dlink', '/x/empty/', '/x/link', '/x/run.sh'],
    ],
    ['with --link', 'COPY --link src/d /x', ['/x/c.txt', '/x/e/', '/x/e/f.txt']],
  ])('%s', async (_, line, expected) => {
    expect((await builds.build(line, tree)).list('/x')).toEqual(expected);
  });

  test('owners by name and number, from the image’s own files', async () => {
    const { stat } = await builds.build(
      `COPY --chown=ann src /a
COPY --chown=ann:wheel src /b
COPY --chown=12:34 src /c
COPY --chown=77 src /d
COPY --chown=ann:video src/a.txt /new/deep/a
COPY --chmod=640 src/a.txt /m
COPY --chmod=u=rwx,g=rx,o= src/a.txt /n`,
      tree,
    );
    expect(['/a', '/b/d/c.txt', '/c/link', '/d/run.sh', '/new', '/new/deep/a', '/m', '/n'].map(stat)).toEqual(
      [
        'dir 755 1000:1001',
        'file 644 1000:10',
        'symlink a.txt 12:34',
        'file 755 77:77',
        'dir 755 1000:44',
        'file 644 1000:44',
        'file 640 0:0',
        'file 750 0:0',
      ],
    );
  });

  test('from a stage, an index and an image, with links and special bits', async () => {
    const { stat, read } = await builds.build(`
FROM base AS one
RUN mkdir -p /o/p && echo x > /o/p/f && ln -s p/f /o/l && ln /o/p/f /o/h && chown 5:6 /o/p && chmod 4755 /o/p/f
FROM base
COPY --from=one /o /o
COPY --from=0 /o/l /l
COPY --from=base /etc/passwd /pw`);
    expect(['/o/p', '/o/p/f', '/o/l', '/o/h', '/l'].map(stat)).toEqual([
      'dir 755 5:6',
      'file 4755 0:0',
      'symlink p/f 0:0',
      'file 4755 0:0',
      'file 4755 0:0',
    ]);
    expect(read('/pw')).toContain('ann:x:1000');
  });

  test('onto folders, files and links that are there', async () => {
    const { list, read, stat } = await builds.build(
      `RUN mkdir -p /t/d /real /dd && echo old > /t/d/c.txt && chmod 700 /t/d && chown 3:3 /t/d && echo x > /f
RUN ln -s real /sl && ln -s /real /abs && ln -s ../../../real /esc
COPY src /t
COPY src/a.txt /f
COPY src/a.txt /dd
COPY src/a.txt /sl/
COPY src/b.md /abs/x/
COPY src/d /esc/q`,
      tree,
    );
    expect(read('/t/d/c.txt')).toBe('c');
    expect(stat('/t/d')).toBe('dir 755 0:0');
    expect(read('/f')).toBe('a');
    expect(list('/dd')).toEqual(['/dd/a.txt']);
    expect(list('/real')).toEqual([
      '/real/a.txt',
      '/real/q/',
      '/real/q/c.txt',
      '/real/q/e/',
      '/real/q/e/f.txt',
      '/real/x/',
      '/real/x/b.md',
    ]);
  });

  test.each<[string, string, RegExp]>([
    ['a file that is not there', 'COPY nope /x', /"\/nope": not found/],
    ['a folder onto a file', 'RUN echo > /d\nCOPY src/d /d', /cannot copy to non-directory: \/d/],
    [
      'a file onto a folder of its name',
      'RUN mkdir -p /x/a.txt\nCOPY src/a.txt /x/',
      /cannot replace to directory/,
    ],
    ['a path out of the context', 'COPY ../../etc/passwd /x', /not found/],
  ])('fails for %s', async (_, line, message) => {
    await expect(builds.build(line, tree)).rejects.toMatchObject({ message: expect.stringMatching(message) });
  });
});

describe('.dockerignore', () => {
  const all = [
    '/c/other.txt',
    '/c/src/a.txt',
    '/c/src/b.md',
    '/c/src/d/c.txt',
    '/c/src/d/e/f.txt',
    '/c/src/run.sh',
  ];
  const files: Files = { ...tree };
  for (const name of ['src/link', 'src/dlink', 'src/broken', 'src/empty/']) delete files[name];
  test.each<[string, string, string[]]>([
    [
      'exceptions, in order',
      '**/*.md\n!src/b.md\nsrc/d\n!src/d/e\n# comment\nother*',
      ['/c/src/a.txt', '/c/src/b.md', '/c/src/d/e/f.txt', '/c/src/run.sh'],
    ],
    [
      'everything but',
      '*\n!src\nsrc/d/**/f.txt\n./src/a.txt',
      ['/c/src/b.md', '/c/src/d/c.txt', '/c/src/run.sh'],
    ],
    [
      'wildcards',
      'src/?.txt\nsrc/[a-c].md\n  src/run.sh  \n',
      ['/c/other.txt', '/c/src/d/c.txt', '/c/src/d/e/f.txt'],
    ],
    ['nothing', '', all],
  ])('%s', async (_, ignore, expected) => {
    const { list } = await builds.build('COPY . /c/', { ...files, '.dockerignore': ignore });
    const found = list('/c').filter((path) => !path.endsWith('/') && !path.includes('ignore'));
    expect(found).toEqual(expected);
  });

  test('the Dockerfile’s own goes before the context’s', async () => {
    const context = builds.context({
      ...files,
      '.dockerignore': 'src',
      'app.Dockerfile': 'FROM base\nCOPY . /c/',
      'app.Dockerfile.dockerignore': 'other.txt\nsrc/d',
    });
    const { list } = await builds.build(
      '',
      {},
      { context, dockerfile: 'app.Dockerfile', dockerfileText: undefined },
    );
    expect(list('/c').filter((path) => /src\/|other/.test(path))).toEqual([
      '/c/src/',
      '/c/src/a.txt',
      '/c/src/b.md',
      '/c/src/run.sh',
    ]);
  });
});

describe('ADD', () => {
  test.each(['', 'z', 'j', 'J'])('unpacks a tar (tar c%sf), unless told not to', async (flag) => {
    const context = builds.context({ 'x/one': 'one', 'x/two': ['2', 0o700] });
    execFileSync('tar', [`c${flag}f`, 'x.tar', '--numeric-owner', '--owner=5', '--group=6', 'x'], {
      cwd: context,
    });
    const { stat, list } = await builds.build(
      'ADD x.tar /t/\nADD --unpack=false x.tar /u/\nCOPY x.tar /v/\nADD x/one /w/\nADD --chown=7:8 x.tar /o/',
      {},
      { context },
    );
    expect(list('/t')).toEqual(['/t/x/', '/t/x/one', '/t/x/two']);
    expect(stat('/t/x/two')).toBe('file 700 5:6');
    expect(stat('/o/x/two')).toBe('file 700 7:8');
    expect([...list('/u'), ...list('/v'), ...list('/w')]).toEqual(['/u/x.tar', '/v/x.tar', '/w/one']);
  });
});
