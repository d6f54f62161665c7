/** Of a base whose layers can be read file by file (eStargz, zstd:chunked), a build fetches what it reads. */
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createWriteStream, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { layersOf, resolveImage } from '../../src/distribution/index.ts';
import { openEngine } from '../../src/engine/engine.ts';
import { removeImage, removeNameless } from '../../src/images/remove.ts';
import { saveImages } from '../../src/images/save.ts';
import { image, marshal } from '../../src/llb/index.ts';
import { prune } from '../../src/upkeep/disk-usage.ts';
import { closePool } from '../../src/workers/pool.ts';
import { GatewayKit } from '../api/buildkit/gateway-kit.ts';
import { Builds } from '../kit/builds.ts';
import { Cli, outputOf } from '../kit/cli.ts';
import { type Fault, type FaultProxy, startFaultProxy } from '../kit/fault-proxy.ts';
import { OrdinaryUser } from '../kit/ordinary-user.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';

const publisher = new Builds();
const dir = mkdtempSync(join(tmpdir(), 'drydock-lazy-'));
let registry: TestRegistry;
let proxy: FaultProxy;
/** The least number of bytes of each of the three layers (in UTF-8 they are half as many again). */
const layerSize = 12 << 20;

beforeAll(async () => {
  registry = await startRegistry();
  proxy = await startFaultProxy(registry.host);
  await publisher.open();
  for (const compression of ['estargz', 'zstdchunked']) {
    await publisher.build(
      `FROM base
COPY one /one
COPY two /two
RUN mkdir -p /deep/er && echo small > /deep/er/small && ln /deep/er/small /deep/hard && ln -s er/small /deep/soft \\
  && rm -r /one/gone && mkdir /one/gone && echo again > /one/gone/file && chmod 2755 /one/gone && chown 5:6 /deep/er
COPY three /three`,
      {
        'one/large': randomBytes(layerSize).toString('latin1'),
        'one/gone/old': 'old',
        'two/large': randomBytes(layerSize).toString('latin1'),
        'three/large': randomBytes(layerSize).toString('latin1'),
      },
      {
        tags: [`${registry.host}/base:${compression}`],
        outputs: [{ type: 'image', attrs: { push: 'true', compression, 'force-compression': 'true' } }],
      },
    );
  }
}, 300_000);
afterAll(async () => {
  await publisher.close();
  await proxy.stop();
  await registry.stop();
  await closePool();
  rmSync(dir, { recursive: true, force: true });
});

afterEach(() => {
  proxy.fault = () => undefined;
});

let count = 0;
type Snapshotter = 'stargz' | 'overlayfs';

/** Work with an engine that has a root of its own, which may be that of an earlier one. */
async function withEngine<T>(
  use: (builds: Builds, root: string) => Promise<T>,
  { snapshotter = 'stargz' as Snapshotter, root = join(dir, `root-${++count}`) } = {},
): Promise<T> {
  const builds = new Builds();
  builds.engine = await openEngine({ root, snapshotter, maxDownloadAttempts: 1 });
  try {
    return await use(builds, root);
  } finally {
    await builds.close();
  }
}

/** The bytes that the registry sent meanwhile. */
async function sentBy(work: () => Promise<unknown>): Promise<number> {
  const before = proxy.sent;
  await work();
  return proxy.sent - before;
}

const base = (kind: string) => `${proxy.host}/base:${kind}`;
/** What all of a base's layers have at least, and what is fetched of them at most where little is read. */
const whole = 3 * layerSize;
const little = 5e6;
/** Files that are the step's own, or change with it. */
const own = ['/proc', '/dev', '/sys', '/tmp', '/etc/hosts', '/etc/resolv.conf'].map(
  (path) => `-path ${path}`,
);
/** All there is to know of a tree's files, but for the number of blocks; their contents by sum. */
const look = `find / -xdev \\( ${own.join(' -o ')} \\) -prune -o -print | sort > /tmp/names && \\
  while read -r f; do stat -c '%n %F %a %u:%g %s %h %Y' "$f"; done < /tmp/names | grep -v '^/ \\|^/etc ' > /tmp/stats && \\
  find / -xdev \\( ${own.join(' -o ')} \\) -prune -o -type f -print | sort | xargs md5sum > /tmp/sums`;

describe.each(['estargz', 'zstdchunked'])('a base of %s', (kind) => {
  test('a step that reads 1 MB of 55 fetches little more, and the next one nothing', async () => {
    await withEngine(async (builds) => {
      const text = `FROM ${base(kind)}\nRUN head -c 1000000 /one/large | wc -c > /read && cat /deep/hard >> /read`;
      const sent = await sentBy(async () => {
        expect((await builds.build(text)).read('/read')).toBe('1000000\nsmall\n');
      });
      expect(sent).toBeLessThan(little);
      // What was fetched stays.
      const again = await sentBy(() => builds.build(`${text}\nRUN head -c 1000000 /one/large > /dev/null`));
      expect(again).toBeLessThan(20_000);
    });
  });

  test('everything in it is as in an unpacked one, and what is built on it has the same digest', async () => {
    const seen = `FROM ${base(kind)}\nRUN ${look}\nFROM scratch\nCOPY --from=0 /tmp/stats /tmp/sums /`;
    const changes = 'chmod 700 /deep && echo more >> /deep/er/small && rm /two/large && mv /one/gone /moved';
    const built = `FROM ${base(kind)}\nRUN ${changes} && touch -d @5 /moved /`;
    const outputs = [{ type: 'image' as const, attrs: { 'rewrite-timestamp': 'true' } }];
    const of = (snapshotter: Snapshotter) =>
      withEngine(
        async (builds) => {
          const { read } = await builds.build(seen);
          const { id } = await builds.build(built, {}, { sourceDateEpoch: 1_000_000_000, outputs });
          return { id, stats: read('/stats'), sums: read('/sums') };
        },
        { snapshotter },
      );
    const [lazy, unpacked] = [await of('stargz'), await of('overlayfs')];
    expect(lazy.stats).toContain('/one/gone/file regular file 644 0:0 6 1 ');
    expect(lazy.stats).not.toContain('/one/gone/old');
    // An eStargz's table has times in seconds, rounded.
    const timeless = (text: string) => (kind === 'estargz' ? text.replaceAll(/ \d+$/gm, '') : text);
    expect(timeless(lazy.stats)).toBe(timeless(unpacked.stats));
    expect(lazy.sums).toBe(unpacked.sums);
    expect(lazy.id).toBe(unpacked.id);
  });

  test('a COPY from it fetches the file', async () => {
    await withEngine(async (builds) => {
      const sent = await sentBy(async () => {
        const built = await builds.build(`FROM scratch\nCOPY --from=${base(kind)} /deep/er/small /`);
        expect(built.read('/small')).toBe('small\n');
      });
      expect(sent).toBeLessThan(little);
    });
  });

  test('a damaged part fails the step that reads it, which names file, layer and registry', async () => {
    await withEngine(async (builds) => {
      const text = `FROM ${base(kind)}\nRUN wc -c < /etc/passwd\nRUN md5sum /one/large`;
      await builds.build(`FROM ${base(kind)}\nRUN true`);
      proxy.fault = ({ headers }) => garbageFor(headers.range);
      const failing = builds.build(text);
      await expect(failing).rejects.toMatchObject({ code: 'failed', hop: 'registry', exitCode: 1 });
      await expect(failing).rejects.toThrow(
        new RegExp(
          `/one/large of the layer sha256:[0-9a-f]{64} of ${proxy.host}/base.* could not be fetched`,
        ),
      );
      proxy.fault = () => undefined;
      await builds.build(text);
    });
  });

  test('a registry that dies in mid-build fails the step; one that is back serves the next build', async () => {
    await withEngine(async (builds) => {
      await builds.build(`FROM ${base(kind)}\nRUN true`);
      proxy.fault = ({ headers }) => (headers.range === undefined ? undefined : { status: 503 });
      const failing = builds.build(`FROM ${base(kind)}\nRUN md5sum /three/large`);
      await expect(failing).rejects.toThrow('/three/large of the layer');
      proxy.fault = () => undefined;
      await builds.build(`FROM ${base(kind)}\nRUN md5sum /three/large`);
    });
  });

  test('without ranges in the registry, the layers are fetched whole', async () => {
    await withEngine(async (builds) => {
      proxy.fault = ({ headers }) => void delete headers.range;
      const sent = await sentBy(async () => {
        const built = await builds.build(`FROM ${base(kind)}\nRUN cat /deep/hard > /read`);
        expect(built.read('/read')).toBe('small\n');
      });
      proxy.fault = () => undefined;
      expect(sent).toBeGreaterThan(whole);
    });
  });

  test('exported to its registry nothing is fetched, to another place all of it', async () => {
    await withEngine(async (builds) => {
      const text = `FROM ${base(kind)}\nRUN cat /deep/hard > /read`;
      const pushed = [{ type: 'image' as const, attrs: { push: 'true' } }];
      const near = () => builds.build(text, {}, { outputs: pushed, tags: [`${proxy.host}/app:1`] });
      expect(await sentBy(near)).toBeLessThan(little);
      const alone = [{ type: 'image' as const, attrs: { push: 'true', 'push-by-digest': 'true' } }];
      const byDigest = () => builds.build(text, {}, { outputs: alone, tags: [`${proxy.host}/other`] });
      expect(await sentBy(byDigest)).toBeLessThan(little);
      const other = await startRegistry();
      try {
        const tags = [`${other.host}/app:1`];
        expect(await sentBy(() => builds.build(text, {}, { outputs: pushed, tags }))).toBeGreaterThan(whole);
        await withEngine((elsewhere) => elsewhere.build(`FROM ${tags[0]}\nRUN md5sum /one/large`));
      } finally {
        await other.stop();
      }
    });
  });

  test('the next process, and one beside it, have what the first one fetched; prune frees it', async () => {
    const text = `FROM ${base(kind)}\nRUN head -c 1000000 /one/large > /read`;
    await withEngine(async (builds, root) => {
      await builds.build(text);
      await withEngine(
        async (beside) => {
          const sent = await sentBy(() =>
            beside.build(`${text}\nRUN head -c 1000000 /one/large > /dev/null`),
          );
          expect(sent).toBeLessThan(20_000);
        },
        { root },
      );
      const used = await usage(join(root, 'snapshots'));
      await prune(builds.engine, { all: true });
      await removeImage(builds.engine.store, 'test');
      await removeNameless(builds.engine.store);
      await builds.engine.store.gc();
      await builds.engine.store.settled?.();
      expect((await usage(join(root, 'snapshots'))) * 10).toBeLessThan(used);
      expect(await builds.engine.store.verify()).toMatchObject({ snapshots: 0, problems: [] });
    });
  });
});

test('a mount of it reads what the step reads', async () => {
  await withEngine(async (builds) => {
    const sent = await sentBy(async () => {
      const built = await builds.build(`FROM ${base('zstdchunked')} AS tools
FROM ${base('estargz')}
RUN --mount=from=tools,source=/deep,target=/mnt cat /mnt/er/small > /read
RUN --mount=from=tools,target=/mnt cat /mnt/deep/hard >> /read`);
      expect(built.read('/read')).toBe('small\nsmall\n');
    });
    expect(sent).toBeLessThan(little);
  });
});

test('for builds that are kept apart from others, its layers are fetched whole and checked', async () => {
  await withEngine(async ({ engine }) => {
    const { store, registry: client, refs } = engine;
    const source = base('estargz');
    const platform = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' };
    for (const [lease, mayBeLazy] of [
      ['a', false],
      ['b', true],
    ] as const) {
      await store.leases.create(lease);
      const { document, config } = await resolveImage(store, client, source, {
        platform,
        pull: 'always',
        lease,
      });
      const sent = await sentBy(() =>
        refs.image(source, layersOf(document, config)).snapshot({ lease, mayBeLazy }),
      );
      if (mayBeLazy) expect(sent).toBeLessThan(little);
      else expect(sent).toBeGreaterThan(whole);
      await store.leases.delete(lease);
      await store.gc();
    }
  });
});

test('saved, it is fetched whole', async () => {
  await withEngine(async (builds) => {
    const built = await builds.build(`FROM ${base('estargz')}\nRUN cat /deep/hard > /read`);
    const file = join(dir, 'saved.tar');
    const { store, registry: client } = builds.engine;
    await saveImages(store, ['test'], createWriteStream(file), { client });
    expect(statSync(file).size).toBeGreaterThan(whole);
    expect(built.id).toMatch(/^sha256:/);
  });
});

test('a build that is canceled while a read waits for the registry ends at once', async () => {
  await withEngine(async (builds) => {
    await builds.build(`FROM ${base('estargz')}\nRUN true`);
    const asked = Promise.withResolvers<void>();
    proxy.fault = ({ headers }) => {
      if (headers.range === undefined) return undefined;
      asked.resolve();
      return 'silence';
    };
    const stop = new AbortController();
    const building = builds.build(
      `FROM ${base('estargz')}\nRUN md5sum /two/large`,
      {},
      { signal: stop.signal },
    );
    building.catch(() => {});
    await asked.promise;
    const at = Date.now();
    stop.abort();
    await expect(building).rejects.toMatchObject({ code: 'canceled' });
    expect(Date.now() - at).toBeLessThan(20_000);
  });
});

test('a file of a running container that waits for the registry keeps nobody else waiting', async () => {
  const kit = new GatewayKit();
  await kit.open({ snapshotter: 'stargz', maxDownloadAttempts: 1 });
  const build = await kit.build();
  try {
    const { ref } = await build.client.solve({ Definition: marshal(image(base('estargz'))) });
    const read = (FilePath: string) =>
      build.client.readFileContainer({ Ref: 'c', FilePath, Range: { Offset: 0n, Length: 1000n } });
    await build.client.newContainer({ ContainerID: 'c', Mounts: [{ dest: '/', resultID: ref }] });
    expect(Buffer.from((await read('/deep/er/small')).Data).toString()).toBe('small\n');
    const asked = Promise.withResolvers<void>();
    proxy.fault = ({ headers }) => {
      if (headers.range === undefined) return undefined;
      asked.resolve();
      return 'silence';
    };
    const reading = read('/two/large');
    reading.catch(() => {});
    await asked.promise;
    // The proxy and the engine are on this thread, which the read would hold.
    await expect(build.client.ping({})).resolves.toBeDefined();
    const { stat } = await build.client.statFileContainer({ Ref: 'c', Path: '/two/large' });
    expect(Number(stat?.size)).toBeGreaterThan(layerSize);
  } finally {
    await build.end();
    await kit.close();
  }
});

test.each([
  { basic: { username: 'ann', password: 'secret' } },
  { token: { username: 'ann', password: 'secret' } },
])('a private registry is asked with the credentials of the build: %o', async (access) => {
  const user = { username: 'ann', password: 'secret' };
  const closed = await startRegistry(access);
  try {
    const image = `${closed.host}/team/base:1`;
    const credentials = async () => user;
    const attrs = { push: 'true', compression: 'estargz', 'force-compression': 'true' };
    const large = randomBytes(6 << 20).toString('latin1');
    const outputs = [{ type: 'image' as const, attrs }];
    await publisher.build('FROM base\nCOPY large /large', { large }, { tags: [image], outputs, credentials });
    const read = `FROM ${image}\nRUN head -c 10 /large`;
    const root = join(dir, `private-${++count}`);
    await withEngine((builds) => builds.build(read, {}, { credentials }), { root });
    // The next process has a build whose first steps are cached.
    await withEngine((builds) => builds.build(`${read}\nRUN md5sum /large`, {}, { credentials }), { root });
  } finally {
    await closed.stop();
  }
});

test('where FUSE does not work, the layers are fetched whole', async () => {
  const cli = new Cli();
  const context = cli.files('app', { Dockerfile: `FROM ${base('estargz')}\nRUN cat /deep/hard` });
  const sent = await sentBy(async () => {
    const command = `mount --bind /dev/null /dev/fuse && exec "$@"`;
    const drydock = [
      join(import.meta.dirname, '../../bin/drydock'),
      '--snapshotter=stargz',
      'build',
      context,
    ];
    const child = spawn('unshare', ['-m', 'sh', '-c', command, 'sh', ...drydock], { env: cli.environment() });
    const { code, stderr } = await outputOf(child);
    expect(stderr).toContain('small');
    expect(code).toBe(0);
  });
  expect(sent).toBeGreaterThan(whole);
  cli.close();
});

test('a user who is not root has lazy bases too, and steps with other owners have none', async () => {
  const user = new OrdinaryUser();
  try {
    const text = `FROM ${base('estargz')}\nRUN head -c 1000000 /one/large | wc -c && ls -ln /deep`;
    const context = user.files('app', { Dockerfile: text });
    const sent = await sentBy(async () => {
      const { stderr } = await user.drydock(['--snapshotter=stargz', 'build', '--progress=plain', context]);
      expect(stderr).toMatch(/ 1000000\n/);
      expect(stderr).toMatch(/drwxr-xr-x +2 5 +6 .* er\n/);
    });
    expect(sent).toBeLessThan(little);
    const opening = openEngine({ root: join(dir, 'mapped'), snapshotter: 'stargz', usernsRemap: user.name });
    await expect(opening).rejects.toMatchObject({ code: 'invalid', hint: /use another snapshotter/ });
  } finally {
    user.close();
  }
});

test('a damaged table of contents is refused', async () => {
  await withEngine(async (builds) => {
    proxy.fault = ({ headers }) => garbageFor(headers.range);
    const failing = builds.build(`FROM ${base('zstdchunked')}\nRUN true`);
    await expect(failing).rejects.toMatchObject({ code: 'corrupt', hop: 'registry' });
    await expect(failing).rejects.toThrow('the table of contents is not the one that the manifest names');
    proxy.fault = () => undefined;
    await builds.build(`FROM ${base('zstdchunked')}\nRUN true`);
  });
});

test('kill -9 leaves a dead mount, which the next process removes', async () => {
  const cli = new Cli();
  const args = (dir: string) => ['--snapshotter=stargz', 'build', '-t', 'app', dir];
  const first = `FROM ${base('estargz')}\nRUN head -c 1000000 /one/large > /read`;
  const sleeper = cli.files('sleeper', { Dockerfile: `${first}\nRUN echo now && sleep 1000` });
  const reader = cli.files('reader', { Dockerfile: `${first}\nRUN head -c 1000000 /one/large | wc -c` });
  const child = cli.start([...args(sleeper), '--progress=plain']);
  let text = '';
  child.stderr?.on('data', (data: Buffer) => {
    text += data;
  });
  await expect.poll(() => text, { timeout: 60_000 }).toMatch(/ now\n/);
  expect(mountsBelow(cli.root)).toHaveLength(1);
  child.kill('SIGKILL');
  await outputOf(child);
  expect(mountsBelow(cli.root)).toHaveLength(1);
  const sent = await sentBy(() => cli.ok(args(reader)));
  expect(sent).toBeLessThan(20_000);
  expect(mountsBelow(cli.root)).toEqual([]);
  cli.close();
});

/** An answer to a request for a range with other bytes than the blob's; undefined for other requests. */
function garbageFor(range: string | undefined): Fault | undefined {
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
  if (from === undefined) return undefined;
  const headers = { 'content-range': `bytes ${from}-${to}/*` };
  return { status: 206, headers, body: 'x'.repeat(Number(to) - Number(from) + 1) };
}

/** Bytes on disk below a folder. */
async function usage(path: string): Promise<number> {
  return Number(execFileSync('du', ['-sk', path], { encoding: 'utf8' }).split('\t')[0]) * 1024;
}

function mountsBelow(path: string): string[] {
  const points = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return points.map((line) => line.split(' ')[4] ?? '').filter((point) => point.startsWith(`${path}/`));
}
