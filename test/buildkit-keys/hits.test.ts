/** A cache that BuildKit wrote gives hits here, and one of ours has the names that BuildKit would look for. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { openEngine } from '../../src/engine/engine.ts';
import type { Manifest } from '../../src/oci/types.ts';
import {
  type ConfigRecord,
  cacheConfigType,
  parseCacheConfig,
} from '../../src/remote-cache/format/config.ts';
import type { CacheSpec } from '../../src/remote-cache/types.ts';
import type { DockerfileOptions } from '../../src/sdk/build.ts';
import { closePool } from '../../src/workers/pool.ts';
import { Builds, type Files } from '../kit/builds.ts';
import { putImage } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onLocal } from '../kit/stores.ts';
import { projectBase, projectFiles, projectText } from './project.ts';

interface WrittenCache {
  manifest: string;
  /** By digest: JSON, or base64 with a mark in front. */
  blobs: Record<string, string>;
}

const caches: Record<string, WrittenCache> = JSON.parse(
  readFileSync(new URL('caches.json', import.meta.url), 'utf8'),
);
const folder = mkdtempSync(join(tmpdir(), 'drydock-buildkit-caches-'));
let registry: TestRegistry;
let base: string;

beforeAll(async () => {
  registry = await startRegistry();
  base = await putImage(registry.host, 'project/base', projectBase());
});
afterAll(async () => {
  await registry.stop();
  rmSync(folder, { recursive: true, force: true });
  await closePool();
});

/** The steps of the last build that were run, base images aside. */
function ranIn({ steps }: Builds): string[] {
  return [...steps.values()]
    .filter(({ name, completed, cached }) => {
      return /^\[\S+ +\d+\/\d+\] (?!FROM)/.test(name) && completed !== undefined && cached !== true;
    })
    .map(({ name }) => name);
}

/** The cache that a release wrote, as a folder of the client. */
function written(release: string): CacheSpec {
  const src = join(folder, release);
  mkdirSync(join(src, 'blobs/sha256'), { recursive: true });
  const { manifest, blobs } = caches[release] as WrittenCache;
  for (const [digest, text] of Object.entries(blobs)) {
    const bytes = text.startsWith('base64:') ? Buffer.from(text.slice(7), 'base64') : Buffer.from(text);
    writeFileSync(join(src, 'blobs/sha256', digest.slice(7)), bytes);
  }
  return { type: 'local', attrs: { src, digest: manifest } };
}

/** The records of a cache that was written into a folder. */
function recordsIn(dir: string): ConfigRecord[] {
  const read = (digest: string) => readFileSync(join(dir, 'blobs/sha256', digest.slice(7)));
  const index = JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8')) as {
    manifests: { digest: string }[];
  };
  const { config } = JSON.parse(read(index.manifests[0]!.digest).toString()) as Manifest;
  return parseCacheConfig(read(config.digest)).records;
}

function recordsOf({ blobs, manifest }: WrittenCache): ConfigRecord[] {
  const { config, manifests = [] } = JSON.parse(blobs[manifest] as string) as Partial<Manifest> & {
    manifests?: { mediaType: string; digest: string }[];
  };
  const digest = config?.digest ?? manifests.find(({ mediaType }) => mediaType === cacheConfigType)?.digest;
  return parseCacheConfig(Buffer.from(blobs[digest as string] as string)).records;
}

onLocal('with the project that BuildKit has built', (store) => {
  const open: Builds[] = [];
  /** Builds the project on a machine that has built nothing yet; returns the steps that ran. */
  const build = async (
    options: Partial<DockerfileOptions>,
    files: Files = projectFiles,
    text = projectText,
  ) => {
    const builds = new Builds();
    builds.engine = await openEngine({ root: join(builds.dir, 'root'), ...store.options() });
    open.push(builds);
    const built = await builds.build(text, files, {
      buildArgs: { BASE: base },
      secrets: { npmrc: 'token' },
      ...options,
    });
    return { built, builds, ran: ranIn(builds) };
  };
  afterEach(async () => {
    for (const builds of open.splice(0)) await builds.close();
  });

  test.each(Object.keys(caches))('the cache of %s has all steps', async (release) => {
    const { built, builds, ran } = await build({ cacheFrom: [written(release)] });
    expect(ran).toEqual([]);
    expect(built.list('/srv')).toEqual(
      expect.arrayContaining(['/srv/linked/', '/srv/src/index.js', '/srv/lib/util.js']),
    );
    expect(built.stat('/srv/package.json')).toBe('file 644 1000:1001');
    expect(built.read('/srv/config.txt')).toBe('key=\n');
    expect(built.list('/tmp')).toEqual(['/tmp/<&>/']);
    // What was found there is ours from now on.
    builds.steps.clear();
    await builds.build(projectText, projectFiles, { buildArgs: { BASE: base }, secrets: { npmrc: 'token' } });
    expect(ranIn(builds)).toEqual([]);
  });

  test('what has changed is run, with all that stands on it', async () => {
    const [release = ''] = Object.keys(caches);
    const files: Files = {
      ...projectFiles,
      'src/index.js': 'other\n',
      'package.json': ['{"name":"app"}\n', 0o600],
    };
    const { built, ran } = await build({ cacheFrom: [written(release)] }, files);
    expect(ran.map((name) => name.replace(/^\[.*?\] /, '').slice(0, 20)).sort()).toEqual([
      'ADD --chmod=644 src/',
      'COPY --chown=ann:ann',
      'COPY --from=build --',
      'COPY . .',
      'COPY <<EOT config.tx',
      'COPY package*.json .',
      'LINK COPY --link --f',
      'RUN --mount=type=bin',
      'RUN --mount=type=cac',
      'RUN <<X (/app/<scrip',
      'RUN ["/bin/sh", "/tm',
    ]);
    expect(built.read('/srv/src/index.js')).toBe('other\n');
    expect(built.stat('/srv/package.json')).toBe('file 600 1000:1001');
  });

  test('a cache of ours has all names that BuildKit gave its own', async () => {
    const dest = join(folder, `${store.kind}-ours`);
    await build({ cacheTo: [{ type: 'local', attrs: { dest, mode: 'max' } }] });
    const ours = new Set(recordsIn(dest).map(({ digest }) => digest));
    const [release = ''] = Object.keys(caches);
    const theirs = recordsOf(caches[release] as WrittenCache);
    const isOurs = (at: number) => ours.has((theirs[at] as ConfigRecord).digest);
    for (const [at, { inputs }] of theirs.entries()) {
      if (inputs.length === 0) continue;
      // An input may have several names; it is enough to know one.
      expect(isOurs(at)).toBe(true);
      expect(inputs.map((links) => links.some(({ link }) => isOurs(link)))).not.toContain(false);
    }
  });
});
