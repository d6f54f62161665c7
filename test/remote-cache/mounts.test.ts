/** Cache mounts that travel with a build's cache: `mounts=` of --cache-to and --cache-from. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { runBuild } from '../../src/engine/build.ts';
import { dockerfileBuild } from '../../src/engine/dockerfile-build.ts';
import { openEngine } from '../../src/engine/engine.ts';
import type { BuildOptions } from '../../src/engine/types.ts';
import { digestOf } from '../../src/oci/digest.ts';
import type { Manifest } from '../../src/oci/types.ts';
import type { WarningEvent } from '../../src/progress/events.ts';
import { cacheConfigType } from '../../src/remote-cache/format/config.ts';
import { cacheMountsType, type MountRecord } from '../../src/remote-cache/format/mounts.ts';
import type { CacheSpec } from '../../src/remote-cache/types.ts';
import { build, type DockerfileOptions } from '../../src/sdk/build.ts';
import { inProcessSession } from '../../src/session/in-process.ts';
import { closePool } from '../../src/workers/pool.ts';
import { Builds } from '../kit/builds.ts';
import { pushBase } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onStores } from '../kit/stores.ts';
import { tar } from '../layer/tars.ts';

let registry: TestRegistry;
let base: string;
const folder = mkdtempSync(join(tmpdir(), 'drydock-mounts-'));
beforeAll(async () => {
  registry = await startRegistry();
  base = await pushBase(registry.host);
});
afterAll(async () => {
  await registry.stop();
  rmSync(folder, { recursive: true, force: true });
  await closePool();
});

let names = 0;
/** A step that always runs. */
const step = (command: string, flags = '') =>
  `FROM ${base}\nRUN --mount=type=cache,id=m,target=/m${flags} : ${++names}; ${command}`;

/** The same, when its changes are so old in the end that no later one could look the same. */
const settling = (command: string) => step(`${command} && sleep 0.2`);

onStores('cache mounts that travel', (store) => {
  const open: Builds[] = [];
  /** A machine that has built nothing yet. */
  const machine = async () => {
    const builds = new Builds();
    builds.engine = await openEngine({ root: join(builds.dir, 'root'), ...store.options() });
    open.push(builds);
    return builds;
  };
  afterEach(async () => {
    for (const builds of open.splice(0)) await builds.close();
  });
  const cacheAt = (name: string, attrs: Record<string, string> = {}): CacheSpec => ({
    type: 'registry',
    attrs: { ref: `${registry.host}/mounts/${store.kind}-${name}`, ...attrs },
  });
  let warnings: string[] = [];
  /** Builds, and returns what the steps printed. */
  const run = async (builds: Builds, text: string, options: Partial<DockerfileOptions> = {}) => {
    warnings = [];
    let logs = '';
    await build({
      context: builds.context({}),
      dockerfileText: text,
      engine: builds.engine,
      tags: ['test'],
      credentials: async () => undefined,
      progress: {
        log: ({ data }) => {
          logs += data.toString();
        },
        warning: ({ short }: WarningEvent) => void warnings.push(short),
      },
      ...options,
    });
    return logs
      .split('\n')
      .filter((line) => !line.startsWith('not cached') && line !== '')
      .join('\n');
  };
  const get = async (spec: CacheSpec, path: string) => {
    const [host, ...name] = (spec.attrs.ref as string).split('/');
    return fetch(`http://${host}/v2/${name.join('/')}/${path}`, {
      headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
    });
  };
  /** The mounts of a cache in the registry. */
  const mountsAt = async (spec: CacheSpec): Promise<MountRecord[]> => {
    const manifest = (await (await get(spec, 'manifests/latest')).json()) as Manifest;
    const found = manifest.layers.find(({ mediaType }) => mediaType === cacheMountsType);
    if (found === undefined) return [];
    const { mounts } = (await (await get(spec, `blobs/${found.digest}`)).json()) as { mounts: MountRecord[] };
    // What the registry keeps is what the manifest names.
    const kept = new Set(manifest.layers.map(({ digest }) => digest));
    for (const { layers } of mounts) for (const { digest } of layers) expect(kept).toContain(digest);
    return mounts;
  };
  const sizes = async (spec: CacheSpec) =>
    (await mountsAt(spec)).map(({ layers }) => layers.map(({ size }) => size));

  test('a mount comes back on a machine that has none, when a step wants it', async () => {
    const cache = cacheAt('first');
    const to = [cacheAt('first', { mounts: 'true' })];
    const fill =
      'cd /m && mkdir d && echo one > d/f && chmod 640 d/f && chown 7:8 d/f && ln d/f hard && ln -s d/f soft && mkfifo p && mknod dev c 1 3 && chmod 711 /m && chown 5:6 /m';
    await run(await machine(), step(fill), { cacheTo: to });
    expect(warnings).toEqual([]);
    expect((await mountsAt(cache)).map(({ key, layers }) => [key, layers.length])).toEqual([['/m', 1]]);

    const other = await machine();
    const look = 'cd /m && find . | sort && stat -c "%n %F %a %u:%g %h" . d/f hard soft && cat hard';
    const seen = await run(other, step(look), { cacheFrom: [cache] });
    expect(warnings).toEqual([]);
    // Devices do not travel.
    expect(seen.split('\n')).toEqual([
      ...['.', './d', './d/f', './hard', './p', './soft'],
      '. directory 711 5:6 3',
      'd/f regular file 640 7:8 2',
      'hard regular file 640 7:8 2',
      'soft symbolic link 777 0:0 1',
      'one',
    ]);
  });

  test('an export sends what has changed since the last one, and another machine has the whole', async () => {
    const cache = cacheAt('changes');
    const to = { cacheTo: [cacheAt('changes', { mounts: 'true' })] };
    const builds = await machine();
    await run(
      builds,
      settling('cd /m && head -c 3000000 /dev/urandom > large && mkdir d && touch d/gone d/stays'),
      to,
    );
    const [first] = (await sizes(cache)) as [number[]];
    expect(first).toHaveLength(1);
    expect(first[0]).toBeGreaterThan(3_000_000);

    await run(
      builds,
      settling('cd /m && echo new > d/new && rm d/gone && chmod 600 d/stays && touch here'),
      to,
    );
    const [second] = (await sizes(cache)) as [number[]];
    expect(second).toEqual([first[0], expect.any(Number)]);
    expect(second[1]).toBeLessThan(2000);

    // Nothing has changed: nothing is written.
    await run(builds, step('ls /m > /dev/null'), to);
    expect(await sizes(cache)).toEqual([second]);

    // A machine that has brought the mount goes on from there.
    const other = await machine();
    const seen = await run(
      other,
      settling('cd /m && find . -type f | sort && stat -c %a d/stays && rm -r d && touch d'),
      {
        ...to,
        cacheFrom: [cache],
      },
    );
    expect(seen.split('\n')).toEqual(['./d/new', './d/stays', './here', './large', '600']);
    const [third] = (await sizes(cache)) as [number[]];
    expect(third).toEqual([...second, expect.any(Number)]);
    const all = await run(await machine(), step('cd /m && find . -type f | sort'), { cacheFrom: [cache] });
    expect(all.split('\n')).toEqual(['./d', './here', './large']);
  });

  // The rest makes no difference to the store.
  if (store.kind === 'containerd') return;

  test('the changes become one layer when they are more than what they change', async () => {
    const cache = cacheAt('squash');
    const to = { cacheTo: [cacheAt('squash', { mounts: 'true' })] };
    const builds = await machine();
    const grow = (name: string) =>
      settling(`head -c ${name === 'a' ? 30000 : 20000} /dev/urandom > /m/${name}`);
    const lengths: (number | undefined)[] = [];
    for (const name of ['a', 'b', 'c', 'd']) {
      await run(builds, grow(name), to);
      lengths.push((await sizes(cache))[0]?.length);
    }
    expect(lengths).toEqual([1, 2, 3, 1]);
    const seen = await run(await machine(), step('ls /m'), { cacheFrom: [cache] });
    expect(seen.split('\n')).toEqual(['a', 'b', 'c', 'd']);
  });

  test('layers that are gone from the place are packed anew', async () => {
    const builds = await machine();
    await run(builds, step('echo 1 > /m/a'), { cacheTo: [cacheAt('gone-1', { mounts: 'true' })] });
    const elsewhere = cacheAt('gone-2');
    await run(builds, step('echo 2 > /m/b'), { cacheTo: [cacheAt('gone-2', { mounts: 'true' })] });
    expect((await sizes(elsewhere))[0]).toHaveLength(1);
    const seen = await run(await machine(), step('cat /m/a /m/b'), { cacheFrom: [elsewhere] });
    expect(seen).toBe('1\n2');
  });

  test('the newer one of two counts', async () => {
    const cache = cacheAt('newer');
    const to = { cacheTo: [cacheAt('newer', { mounts: 'true' })] };
    const [one, two] = [await machine(), await machine()];
    await run(one, step('echo one > /m/f'));
    await run(two, step('echo two > /m/f'), to);
    // What `one` has is older.
    expect(await run(one, step('cat /m/f'), { cacheFrom: [cache] })).toBe('two');
    await run(one, step('echo later > /m/f'));
    expect(await run(one, step('cat /m/f'), { cacheFrom: [cache] })).toBe('later');
    // `--no-cache` empties a mount, and it stays so.
    const empty = await run(one, step('ls /m; echo empty'), { cacheFrom: [cache], noCache: true });
    expect(empty).toBe('empty');
  });

  test('a build whose steps are all cached fetches no mount and hands it on', async () => {
    const cache = cacheAt('cached');
    const text = step('echo kept > /m/f');
    const to = { cacheTo: [cacheAt('cached', { mounts: 'true' })] };
    await run(await machine(), text, to);
    const before = await mountsAt(cache);
    const other = await machine();
    await run(other, text, { ...to, cacheFrom: [cache] });
    expect(await mountsAt(cache)).toEqual(before);
    expect(await other.engine.kept.cacheMounts.list()).toEqual([]);
    // Into another place, too.
    const second = cacheAt('cached-2');
    await run(other, text, { cacheTo: [cacheAt('cached-2', { mounts: 'true' })], cacheFrom: [cache] });
    expect(await mountsAt(second)).toEqual(before);
    expect(await run(await machine(), step('cat /m/f'), { cacheFrom: [second] })).toBe('kept');
  });

  test('in a folder, of some IDs, of a namespace; nothing without mounts=', async () => {
    const dest = join(folder, `${store.kind}-ids`);
    const text = `FROM ${base}
      RUN --mount=type=cache,id=a,target=/a --mount=type=cache,target=/b --mount=type=cache,id=c,target=/c,uid=9 \
        touch /a/a /b/b /c/c`;
    const builds = await machine();
    const folders = { buildArgs: { BUILDKIT_CACHE_MOUNT_NS: 'team' } };
    await run(builds, text, {
      ...folders,
      cacheTo: [{ type: 'local', attrs: { dest, mounts: 'team/a;team//b;no' } }],
    });
    expect(warnings).toEqual(['cache-to: there is no cache mount "no" to write']);
    const look = `FROM ${base}
      RUN --mount=type=cache,id=a,target=/a --mount=type=cache,target=/b --mount=type=cache,id=c,target=/c,uid=9 \
        : ${++names}; stat -c %u /c; ls /a /b /c | grep '^.$'`;
    const from: CacheSpec[] = [{ type: 'local', attrs: { src: dest } }];
    expect(await run(await machine(), look, { ...folders, cacheFrom: from })).toBe('9\na\nb');
    // Another namespace has mounts of its own.
    expect(await run(await machine(), `${look} || true`, { cacheFrom: from })).toBe('9');
    // A build may want some of them.
    const some: CacheSpec[] = [{ type: 'local', attrs: { src: dest, mounts: 'team/a' } }];
    expect(await run(await machine(), look, { ...folders, cacheFrom: some })).toBe('9\na');

    await run(builds, text, { ...folders, cacheTo: [cacheAt('none')] });
    expect(await mountsAt(cacheAt('none'))).toEqual([]);
    // One that was filled, or has an owner, is known by that, too.
    await run(builds, text, { ...folders, cacheTo: [cacheAt('owned', { mounts: 'team/c' })] });
    const [owned] = await mountsAt(cacheAt('owned'));
    expect(owned?.key).toMatch(/^team\/c:sha256:/);
    const c = await run(await machine(), look, { ...folders, cacheFrom: [cacheAt('owned')] });
    expect(c).toBe('9\nc');
  });

  test('an identity writes, and has replaced, its own mounts alone', async () => {
    const builds = await machine();
    const as = async (id: string, text: string, caches: Pick<BuildOptions, 'cacheFrom' | 'cacheTo'> = {}) => {
      const session = inProcessSession({ locals: { context: builds.context({ Dockerfile: text }) } });
      const request = dockerfileBuild({
        ...{ context: { type: 'local', name: 'context' }, tags: [], allow: [], check: false, ...caches },
        ...{ outputs: [{ type: 'cacheonly', attrs: {} }], buildArgs: {}, labels: {}, platforms: [] },
        ...{ noCache: false, noCacheFilter: [], pull: 'missing', network: 'default', extraHosts: [] },
        ...{ shmSize: 0, ulimits: [], namedContexts: {} },
      });
      let logs = '';
      const none = () => undefined;
      await runBuild(
        builds.engine,
        request,
        { ...session, tenant: { id, sharesCacheMounts: false } },
        {
          ...{ vertex: none, status: none, warning: none },
          log: ({ data }) => {
            logs += data.toString();
          },
        },
        new AbortController().signal,
      );
      await session.close();
      return logs.split('\n').filter((line) => line !== '' && !line.startsWith('not cached'));
    };
    const [anns, bobs] = [cacheAt('ann'), cacheAt('bob')];
    await as('ann', step('echo ann > /m/f'));
    // Bob has no such mount.
    await as('bob', `FROM ${base}`, { cacheTo: [cacheAt('bob', { mounts: 'm' })] });
    expect((await get(bobs, 'manifests/latest')).status).toBe(404);
    await as('bob', step('echo bob > /m/f'), { cacheTo: [cacheAt('bob', { mounts: 'm' })] });
    const restore = { mounts: 'm', 'restore-mounts': 'true' };
    await as('ann', step('true'), { cacheTo: [cacheAt('ann', { mounts: 'm' })] });
    await as('bob', `FROM ${base}`, { cacheFrom: [cacheAt('ann', restore)] });
    expect(await as('bob', step('cat /m/f'))).toEqual(['ann']);
    await as('bob', `FROM ${base}`, { cacheFrom: [cacheAt('bob', restore)] });
    expect(await as('ann', step('cat /m/f'))).toEqual(['ann']);
    expect((await mountsAt(anns)).map(({ key }) => key)).toEqual(['/m']);
  });

  test('restore-mounts brings them back at once, whatever is here', async () => {
    const builds = await machine();
    await run(builds, step('echo old > /m/f'), { cacheTo: [cacheAt('restore', { mounts: 'm' })] });
    await run(builds, step('echo new > /m/f; touch /m/more'));
    await run(builds, `FROM ${base}`, {
      cacheFrom: [cacheAt('restore', { mounts: 'm', 'restore-mounts': 'true' })],
    });
    expect(await run(builds, step('cat /m/*'))).toBe('old');
  });

  test('a bad layer is a warning, and the mount stays as it was', async () => {
    const cache = cacheAt('bad');
    const escaping = tar({ path: 'f', body: 'f' }, { path: '../../x', body: 'x' });
    const through = tar(
      { path: 'l', type: 'symlink', link: '/' },
      { path: 'l/tmp/drydock-escaped', body: 'x' },
    );
    for (const [layer, said] of [
      [escaping, /importing cache mount \/m from .* climbs out/],
      [through, undefined],
    ] as const) {
      await pushMounts(cache, layer);
      const builds = await machine();
      await run(builds, step('echo here > /m/here'));
      const [here] = builds.engine.kept.cacheMounts.all();
      const seen = await run(builds, step('find /m | sort'), { cacheFrom: [cache] });
      if (said !== undefined) {
        expect(warnings).toEqual([expect.stringMatching(said)]);
        expect(seen).toBe('/m\n/m/here');
      } else expect(seen).toContain('/m/l/tmp/drydock-escaped'.replace('/l', ''));
      expect(existsSync('/tmp/drydock-escaped')).toBe(false);
      expect(readdirSync(here!.instance).filter((name) => /^(new|old)-/.test(name))).toEqual([]);
    }
  });

  /** A cache with one mount of this layer, made in the future. */
  const pushMounts = async (spec: CacheSpec, layer: Buffer) => {
    const put = async (mediaType: string, bytes: Buffer) => {
      const { headers } = await upload(spec, 'blobs/uploads/', 'POST');
      const at = headers.get('location') as string;
      await fetch(`${at}&digest=${digestOf(bytes)}`, { method: 'PUT', body: new Uint8Array(bytes) });
      return { mediaType, digest: digestOf(bytes), size: bytes.length };
    };
    const blob = await put('application/vnd.oci.image.layer.v1.tar', layer);
    const config = await put(cacheConfigType, Buffer.from('{"layers":[],"records":[]}'));
    const record = {
      ...{ key: '/m', madeAt: Date.now() + 3600_000, root: { mode: 0o755, uid: 0, gid: 0 } },
      layers: [{ ...blob, diffId: digestOf(layer) }],
    };
    const document = await put(cacheMountsType, Buffer.from(JSON.stringify({ mounts: [record] })));
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    const manifest = { schemaVersion: 2, mediaType, config, layers: [document, blob] };
    const answer = await upload(spec, 'manifests/latest', 'PUT', JSON.stringify(manifest), mediaType);
    expect(answer.status).toBe(201);
  };
  const upload = (spec: CacheSpec, path: string, method: string, body?: string, type = 'text/plain') => {
    const [host, ...name] = (spec.attrs.ref as string).split('/');
    const headers = { 'content-type': type };
    return fetch(`http://${host}/v2/${name.join('/')}/${path}`, { method, body, headers });
  };

  test('what a killed process left of bringing is put right', async () => {
    const builds = await machine();
    await run(builds, step('echo whole > /m/f'));
    const instance = builds.engine.kept.cacheMounts.all()[0]?.instance as string;
    // It died between moving the old folder away and the new one to its place.
    mkdirSync(join(instance, 'new-1'));
    writeFileSync(join(instance, 'new-1/half'), '');
    renameSync(join(instance, 'data'), join(instance, 'old-1'));
    expect(await run(builds, step('cat /m/*'))).toBe('whole');
    await builds.engine.kept.cacheMounts.sweep(Date.now());
    expect(readdirSync(instance).sort()).toEqual(['data', 'lock']);
    expect(readFileSync(join(instance, 'data/f'), 'utf8')).toBe('whole\n');
  });
});

test('mounts in an inline cache, and a choice that is none, are refused', async () => {
  const refused = (type: string, attrs: Record<string, string>) =>
    build({
      context: folder,
      dockerfileText: 'FROM scratch',
      cacheTo: [{ type, attrs }],
      root: join(folder, 'r'),
    });
  await expect(refused('inline', { mounts: 'true' })).rejects.toThrow('cannot be inside an image (mounts=)');
  await expect(refused('registry', { ref: 'x', mounts: 'a;;b' })).rejects.toThrow(
    'invalid value "a;;b" for mounts',
  );
});
