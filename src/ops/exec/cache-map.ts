/** The cache map of an exec op. Pure. */

import { fail } from '../../errors/index.ts';
import { type ContentSelector, cleanPath } from '../../fs/index.ts';
import { clone, ExecOpSchema, MountContentCache, MountType, toBinary } from '../../llb/index.ts';
import { digestOf } from '../../oci/index.ts';
import type { ExecOp, Mount, Platform } from '../../pb/solver/pb/ops_pb.js';
import type { CacheDep, CacheMap } from '../../solver/index.ts';

/**
 * The cache map of an exec op. As in BuildKit, the digest leaves out the proxy environment, the addresses of extra
 * hosts, the cache that a cache mount names, and selectors (they are in the dependencies). An input that the step
 * cannot hand on changed is keyed by the content that the step sees. Throws `invalid` (hop `llb`) for a forced content
 * key that is not safe.
 */
export function execCacheMap(op: ExecOp, platform: Platform | undefined, inputs: number): CacheMap {
  const named = clone(ExecOpSchema, op);
  if (named.meta !== undefined) {
    named.meta.proxyEnv = undefined;
    for (const host of named.meta.extraHosts) host.IP = '';
  }
  for (const mount of named.mounts) {
    mount.selector = '';
    if (mount.cacheOpt === undefined) continue;
    mount.cacheOpt.ID = '';
    mount.cacheOpt.sharing = 0;
  }
  const machine = platform === undefined ? [] : [platform.OS, platform.Architecture, platform.Variant];
  const bytes = Buffer.from(toBinary(ExecOpSchema, named)).toString('base64');
  return {
    digest: digestOf(`exec ${JSON.stringify([machine, bytes])}`),
    deps: execDeps(op.mounts, inputs),
    unnamed: unnamedIn(op),
  };
}

/** What the digest leaves out. */
function unnamedIn({ meta, mounts, secretenv }: ExecOp): CacheMap['unnamed'] {
  const types = new Set(mounts.map(({ mountType }) => mountType));
  const lent = types.has(MountType.SECRET) || types.has(MountType.SSH) || secretenv.length > 0;
  if (isProxied(meta) || lent || (meta?.extraHosts.length ?? 0) > 0) return 'things';
  return types.has(MountType.CACHE) ? 'cache mounts' : undefined;
}

function isProxied(meta: ExecOp['meta']): boolean {
  const { httpProxy, httpsProxy, ftpProxy, allProxy } = meta?.proxyEnv ?? {};
  return [httpProxy, httpsProxy, ftpProxy, allProxy].some((proxy) => proxy !== undefined && proxy !== '');
}

function execDeps(mounts: readonly Mount[], inputs: number): CacheDep[] {
  const selectors: string[][] = Array.from({ length: inputs }, () => []);
  const byContent: (boolean | undefined)[] = Array.from({ length: inputs }, () => undefined);
  for (const mount of mounts) {
    const input = Number(mount.input);
    if (input < 0 || (mount.mountType !== MountType.BIND && mount.mountType !== MountType.CACHE)) continue;
    selectors[input]?.push(cleanPath(mount.selector));
    // One mount that must not be keyed by content is enough.
    byContent[input] = keyedByContent(mount) && byContent[input] !== false;
  }
  return selectors.map((paths, i): CacheDep => {
    const selector = paths.some((path) => path !== '/') ? digestOf(paths.join('\0')) : '';
    if (byContent[i] !== true) return selector === '' ? {} : { selector };
    const content = contentSelectors(paths);
    return selector === '' ? { content } : { selector, content };
  });
}

function keyedByContent(mount: Mount): boolean {
  // With an output, content that was not selected would be handed on unseen.
  const safe = Number(mount.output) < 0 || mount.readonly || cleanPath(mount.selector) === '/';
  switch (mount.contentCache) {
    case MountContentCache.OFF:
      return false;
    case MountContentCache.ON:
      if (!safe) throw fail('invalid', 'llb', `invalid mount cache content: ${mount.dest} has an output`);
      return true;
    default:
      // Reading a whole root filesystem would cost more than it saves.
      return safe && mount.dest !== '/';
  }
}

/** The selected paths, without those that lie below another one. */
function contentSelectors(paths: readonly string[]): ContentSelector[] {
  const unique = [...new Set(paths)].sort();
  const top = unique.filter(
    (path) => !unique.some((other) => other !== path && (other === '/' || path.startsWith(`${other}/`))),
  );
  return top.map((path) => (path === '/' ? { path } : { path, followLinks: true }));
}
