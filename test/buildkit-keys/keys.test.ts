/** The names of steps and contents in BuildKit's caches. The digests that are looked for are facts: buildkitd wrote them. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildkitKeys } from '../../src/buildkit-keys/keys.ts';
import { sumTree } from '../../src/fs/tree-sum.ts';
import type { ContentSelector } from '../../src/fs/view.ts';
import { goJson, goMessage } from '../../src/llb/go-json.ts';
import { outputCount } from '../../src/llb/outputs.ts';
import { create, ExecOpSchema, FileActionSchema, MountType, OpSchema } from '../../src/llb/pb.ts';
import type { Vertex } from '../../src/llb/vertex.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { contentRecord, outputRecord } from '../../src/remote-cache/format/config.ts';
import type { UsedSource } from '../../src/solver/types.ts';
import { projectBase, projectFiles } from './project.ts';

const written = readFileSync(new URL('caches.json', import.meta.url), 'utf8');
const isThere = (record: string) => written.includes(record);

describe('an op is written as Go writes it', () => {
  const exec = create(ExecOpSchema, {
    meta: { args: ['sh', '-c', 'a && b <"\u2028"> \udc80\t'], cwd: '/', env: ['A=ü'], proxyEnv: {} },
    mounts: [
      { dest: '/' },
      {
        input: -1n,
        dest: '/run/x',
        output: -1n,
        mountType: MountType.SECRET,
        secretOpt: { ID: 'x', mode: 0o400 },
      },
    ],
  });
  const meta =
    '{"args":["sh","-c","a \\u0026\\u0026 b \\u003c\\"\\u2028\\"\\u003e \\ufffd\\t"],"env":["A=ü"],"cwd":"/","proxy_env":{}}';
  const secret = '"secretOpt":{"ID":"x","mode":256}';

  test("by today's releases", () => {
    expect(goJson(goMessage(exec, 'now'))).toBe(
      `{"meta":${meta},"mounts":[{"dest":"/"},{"input":-1,"dest":"/run/x","output":-1,"mountType":1,${secret}}]}`,
    );
  });

  test('by those before 0.17, with numbers that are 0', () => {
    expect(goJson(goMessage(exec, 'old'))).toBe(
      `{"meta":${meta},"mounts":[{"input":0,"dest":"/","output":0},{"input":-1,"dest":"/run/x","output":-1,"mountType":1,${secret}}]}`,
    );
  });

  test('with times of any size, bytes in base64 and owners by their kind', () => {
    const value = {
      path: '/a',
      mode: 0o644,
      data: Buffer.from('<a>'),
      owner: {
        user: { user: { case: 'byID' as const, value: 7 } },
        group: { user: { case: 'byName' as const, value: { name: 'g' } } },
      },
      timestamp: 1767225600123456789n,
    };
    const { action } = create(FileActionSchema, { action: { case: 'mkfile', value } });
    const text = (id: string, input: string) =>
      `{"path":"/a","mode":420,"data":"PGE+","owner":{"user":{"User":{"${id}":7}},"group":{"User":{"byName":{"name":"g"${input}}}}},"timestamp":1767225600123456789}`;
    expect(goJson(goMessage(action.value as object, 'now'))).toBe(text('byId', ''));
    expect(goJson(goMessage(action.value as object, 'old'))).toBe(text('byID', ',"input":0'));
  });
});

describe('an op is named', () => {
  const platform = { OS: 'linux', Architecture: 'amd64' };
  const vertex = (
    op: Parameters<typeof create<import('../../src/pb/solver/pb/ops_pb.js').Op>>[1],
    inputs = 1,
  ) => ({ op: create(OpSchema, op), inputs: Array(inputs).fill({}) }) as unknown as Vertex;
  const map = { digest: digestOf('ours'), deps: [] };
  const records = (op: Parameters<typeof vertex>[0], inputs?: number) =>
    buildkitKeys(vertex(op, inputs), map)?.ops.map((digest) => outputRecord(digest, 0)) ?? [];

  const run = (args: string[]) => ({
    platform,
    op: {
      case: 'exec' as const,
      value: create(ExecOpSchema, {
        meta: {
          args,
          env: ['PATH=/usr/bin:/bin'],
          cwd: '/srv',
          user: 'ann',
          removeMountStubsRecursive: true,
        },
        mounts: [{ dest: '/' }],
      }),
    },
  });

  test('RUN: the same whatever the proxies are, and else for nothing else', () => {
    const last = run(['/bin/sh', '/tmp/<&>']);
    expect(records(last).some(isThere)).toBe(true);
    expect(records(run(['/bin/sh', '/tmp/<&']))).not.toEqual(records(last));
    last.op.value.meta!.proxyEnv = {
      $typeName: 'pb.ProxyEnv',
      ...{ httpProxy: 'http://x', httpsProxy: '', ftpProxy: '', noProxy: '', allProxy: '' },
    };
    expect(records(last).some(isThere)).toBe(true);
    expect(records({ ...last, platform: { OS: 'linux', Architecture: 'arm64' } }).some(isThere)).toBe(false);
    last.op.value.meta!.user = 'root';
    expect(records(last).some(isThere)).toBe(false);
  });

  test('a definition inside a definition, and what returns its inputs, as buildkitd 0.32 has written them', () => {
    const inputs = { 'buildkit.llb.definition': { input: 0n } };
    const nested = { op: { case: 'build' as const, value: { builder: -1n, inputs, attrs: {} } } };
    expect(records(nested)[0]).toBe(
      'sha256:da320acc5208ec3670c06ed54ccfd2ab6e0b7685b4b1dbea487365d46e04b599',
    );
    const named = { ...nested.op.value, attrs: { 'llbbuild.filename': 'x' } };
    expect(records({ op: { case: 'build', value: named } })[0]).not.toBe(records(nested)[0]);
    expect(records({ op: { case: 'build', value: { builder: -1n, def: {} } } }, 0)).toEqual([]);

    const through = create(OpSchema, { op: { case: 'passthrough', value: { id: 'x', outputs: [0n, 1n] } } });
    const { ops = [] } = buildkitKeys({ op: through, inputs: [{}, {}] } as unknown as Vertex, map) ?? {};
    expect(ops.flatMap((digest) => [outputRecord(digest, 0), outputRecord(digest, 1)])).toEqual([
      'sha256:28800ab46164cb7cade5b5cc5c4b631895a44cb9f710dc93dc3b9ffcd33bf86d',
      'sha256:80334d4b0045cf7139add716ae2a8f240f1378e5e39f9063735ad1e00103ff4a',
    ]);
    expect(outputCount(through)).toBe(2);
  });

  test('RUN in dockerd 20.10: without stubs of mounts, with the ids of caches, and whole inputs unnamed', () => {
    const run = (script: string, ...more: object[]) =>
      create(OpSchema, {
        platform: { OS: 'linux', Architecture: 'amd64' },
        op: {
          case: 'exec',
          value: {
            meta: {
              args: ['/bin/sh', '-c', script],
              env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'A=1'],
              cwd: '/app',
              removeMountStubsRecursive: true,
            },
            mounts: [{ dest: '/' }, ...more],
            network: 1,
          },
        },
      });
    const cache = {
      input: -1n,
      dest: '/c',
      output: -1n,
      mountType: MountType.CACHE,
      cacheOpt: { ID: '//c' },
    };
    // What its BuildKit has written into the config of an image.
    for (const [op, record] of [
      [run('cp /b.txt /c.txt'), 'sha256:d1644e2d2568e1767aba4ccc8119a9189343b12cb138f61a57dcf5facd54de35'],
      [run('echo x > /e', cache), 'sha256:6fa6282549db77f9d43429157903ba22e17418a6edb0eaadb893ad237bb05ad9'],
    ] as const) {
      const vertex = { op, inputs: [{}] } as unknown as Vertex;
      const { older, ops } = buildkitKeys(vertex, { digest: digestOf(''), deps: [{}] }) ?? {};
      const oldest = older?.at(-1);
      expect(oldest?.ops.map((digest) => outputRecord(digest, 0))).toContain(record);
      expect(ops?.map((digest) => outputRecord(digest, 0))).not.toContain(record);
      expect(oldest?.selectors).toEqual(['']);
    }
  });

  test('an image: by its manifest for the platform, and by its layers', () => {
    const { manifest, layers, config } = projectBase();
    const blob = layers[0]!;
    const used = {
      kind: 'image' as const,
      ref: 'base',
      digest: manifest.digest,
      platform: { os: 'linux', architecture: 'amd64' },
      layout: false,
    };
    const source = create(OpSchema, {
      platform,
      op: { case: 'source', value: { identifier: 'docker-image://base' } },
    });
    const found = buildkitKeys({ op: source, inputs: [] } as unknown as Vertex, {
      ...map,
      used,
      layers: [{ blob, diffId: config.rootfs.diff_ids[0]!, from: undefined }],
    });
    expect(found?.ops.map((digest) => isThere(outputRecord(digest, 0)))).toEqual([true, true]);
  });

  test('git by its commit and folder, a URL by what the server said of its file', () => {
    const commit = '842c7f22a93fec7c011a58402b907ea8a1003cf1';
    const source = (identifier: string, attrs: Record<string, string>, used: UsedSource) => {
      const op = create(OpSchema, { op: { case: 'source', value: { identifier, attrs } } });
      const found = buildkitKeys({ op, inputs: [] } as unknown as Vertex, { ...map, used });
      return found?.ops.map((digest) => outputRecord(digest, 0));
    };
    const git = (fragment: string, attrs: Record<string, string> = {}) =>
      source(`git://127.0.0.1:5913/repo/.git#${fragment}`, attrs, { kind: 'git', url: '', commit });
    expect(git('main:sub', { 'git.fullurl': 'git://127.0.0.1:5913/repo/.git' })).toEqual([
      'sha256:34a3192492b54df6f5490f3b7a49523b32db9dc12dd01b175f04438de4ef8ce2',
    ]);
    expect(git('v1')).toEqual(['sha256:2f2dcbfac0fee22c2ea2418fd861b836d426a85e025918f1221f6ae1b17714b0']);
    expect(git('v1', { 'git.keepgitdir': 'true' })).toBeUndefined();
    const http = (lastModified: string, attrs: Record<string, string>) =>
      source('http://127.0.0.1:5912/file.txt', attrs, {
        kind: 'http',
        url: '',
        digest: 'sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03',
        lastModified,
      });
    const when = 'Mon, 30 Nov 2026 19:13:10 GMT';
    expect(http(when, { 'http.filename': 'file.txt' })).toEqual([
      'sha256:2cfb8cf61b330a5b58bc4cbab612f22287c8e0ab3a52389b758454e3227f3a9e',
    ]);
    expect(http('2026-11-30', { 'http.filename': 'file.txt' })).toBeUndefined();
    expect(http(when, { 'http.filename': 'file.txt', 'http.uid': '1' })).toBeUndefined();
  });

  test("a client's folder: not at all, as nothing but its contents says what is in it", () => {
    expect(records({ op: { case: 'source', value: { identifier: 'local://context' } } }, 0)).toEqual([]);
  });
});

describe('contents are named', () => {
  const dir = mkdtempSync(join(tmpdir(), 'drydock-sums-'));
  beforeAll(() => {
    for (const [name, what] of Object.entries(projectFiles)) {
      const [text, mode] = typeof what === 'string' ? [what, 0o644] : what;
      mkdirSync(dirname(join(dir, name)), { recursive: true });
      if (text.startsWith('-> ')) symlinkSync(text.slice(3), join(dir, name));
      else writeFileSync(join(dir, name), text, { mode });
    }
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const sums = (...selectors: ContentSelector[]) =>
    sumTree(
      {
        spec: { kind: 'folder', dir, rootOwned: true, excludes: ['*.log'] },
        selectors,
        statDb: join(dir, 'stat.db'),
      },
      { aborted: () => false },
    );
  const follow = { followLinks: true };

  test.each<[string, ContentSelector[]]>([
    ['COPY .', [{ path: '/', ...follow }]],
    ['COPY package*.json', [{ path: '/package*.json', wildcard: true, ...follow }]],
    ['--mount=source=src', [{ path: '/src', ...follow }]],
    ['ADD src/', [{ path: '/src/', ...follow }]],
    [
      'COPY src/lib/*.js main, which is a link',
      [
        { path: '/main', ...follow },
        { path: '/src/lib/*.js', wildcard: true, ...follow },
      ],
    ],
  ])('%s', (_, selectors) => {
    expect(sums(...selectors).some((sum) => isThere(contentRecord(sum)))).toBe(true);
  });

  test('by the names below a folder, its patterns, modes and links', () => {
    const whole = sums({ path: '/src' });
    expect(sums({ path: '/src', excludes: ['lib'] })).not.toEqual(whole);
    expect(sums({ path: '/main' })).not.toEqual(sums({ path: '/main', ...follow }));
    // What filters let through is not named by a folder's own name; before 0.26 its folders were told by nothing.
    expect(sums({ path: '/', includes: ['src/**'] })).toHaveLength(1);
    expect(sums({ path: '/package*.json', wildcard: true })).toHaveLength(2);
  });

  test('not when they are not there', () => {
    expect(sums({ path: '/none' })).toEqual([]);
  });
});
