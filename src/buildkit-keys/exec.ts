/** The keys of BuildKit's exec ops. */
import { type ContentSelector, cleanPath } from '../fs/index.ts';
import {
  clone,
  ExecOpSchema,
  type GoForm,
  goJson,
  goMessage,
  MountContentCache,
  MountType,
} from '../llb/index.ts';
import { digestOf, hostPlatform } from '../oci/index.ts';
import type { ExecOp, Mount, Platform } from '../pb/solver/pb/ops_pb.js';
import type { OtherKeys } from '../solver/index.ts';
import { topPaths } from './paths.ts';

/** What releases have in the JSON of an exec op. */
interface ExecForm {
  json: GoForm;
  /** Before 0.11, nothing was said of the stubs of mounts. */
  saysStubs: boolean;
  /** Before 0.13, the ids of cache mounts stayed. */
  keepsIds: boolean;
  /** Before 0.16, mounts of secrets and of SSH agents were written as mounts of all of the first input. */
  secretsRead: boolean;
}

/** Of releases from 0.17 and from 0.16 on. Today's is first: it is the one that is written. */
const forms: readonly ExecForm[] = [
  { json: 'now', saysStubs: true, keepsIds: false, secretsRead: false },
  { json: 'old', saysStubs: true, keepsIds: false, secretsRead: false },
];

/** Of releases from 0.13 on. */
const form13: ExecForm = { json: 'old', saysStubs: true, keepsIds: false, secretsRead: true };

/** Of releases from 0.11 and from 0.8 on. */
const oldestForms: readonly ExecForm[] = [
  { json: 'old', saysStubs: true, keepsIds: true, secretsRead: true },
  { json: 'old', saysStubs: false, keepsIds: true, secretsRead: true },
];

/**
 * The keys of an exec op: the digests of its JSON without the proxies, the addresses of hosts, selectors, and (by
 * release) the ids of caches that are not named by their place.
 */
export function execKeys(op: ExecOp, platform: Platform | undefined, inputs: number): OtherKeys {
  const { os, architecture, variant } = hostPlatform();
  const machine = platform ?? { OS: os, Architecture: architecture, Variant: variant };
  const digestIn = (form: ExecForm) =>
    digestOf(
      goJson({
        Type: 'buildkit.exec.v0',
        Exec: goMessage(namedPart(op, form), form.json),
        OS: machine.OS,
        Arch: machine.Architecture,
        Variant: machine.Variant || undefined,
        OSVersion: platform?.OSVersion || undefined,
        OSFeatures: platform?.OSFeatures.length ? platform.OSFeatures : undefined,
      }),
    );
  const paths = mountPaths(op.mounts, inputs);
  const with13 = namedPart(op, form13).mounts.map((mount, i) => ({
    ...mount,
    selector: op.mounts[i]?.selector ?? '',
  }));
  return {
    ops: [...new Set(forms.map(digestIn))],
    deps: mountDeps(op.mounts, paths),
    older: [
      ...(op.mounts.some(isSecret)
        ? [{ ops: [digestIn(form13)], selectors: mountPaths(with13, inputs, true).map(selectorOf) }]
        : []),
      {
        ops: [...new Set(oldestForms.map(digestIn))],
        // Before 0.13, a mount of all of an input selected nothing.
        selectors: paths.map((selected) => selectorOf(selected.filter((path) => path !== '/'))),
      },
    ],
  };
}

function isSecret({ mountType }: Mount): boolean {
  return mountType === MountType.SECRET || mountType === MountType.SSH;
}

/** What of an exec op its key names. */
function namedPart(op: ExecOp, { saysStubs, keepsIds, secretsRead }: ExecForm): ExecOp {
  const named = clone(ExecOpSchema, op);
  if (named.meta !== undefined) {
    named.meta.proxyEnv = undefined;
    for (const host of named.meta.extraHosts) host.IP = '';
    if (!saysStubs) named.meta.removeMountStubsRecursive = false;
  }
  for (const mount of named.mounts) {
    mount.selector = '';
    if (secretsRead && isSecret(mount)) Object.assign(mount, { input: 0n, output: 0n });
    if (keepsIds || mount.cacheOpt === undefined || isNamedByPlace(mount)) continue;
    mount.cacheOpt.ID = '';
    mount.cacheOpt.sharing = 0;
  }
  const [first] = named.mounts;
  // The one mount of an ordinary RUN is not written.
  if (named.mounts.length === 1 && first !== undefined && isPlainRoot(first)) named.mounts = [];
  return named;
}

/** Whether a cache has the id that the Dockerfile frontend gives it: its place, behind a namespace or not. */
function isNamedByPlace({ cacheOpt, dest }: Mount): boolean {
  if (cacheOpt === undefined || cacheOpt.sharing !== 0) return false;
  const slash = cacheOpt.ID.indexOf('/');
  return cacheOpt.ID === dest || (slash >= 0 && cacheOpt.ID.slice(slash + 1) === dest);
}

function isPlainRoot({ dest, readonly, mountType, cacheOpt, SSHOpt, secretOpt, resultID }: Mount): boolean {
  return (
    dest === '/' &&
    !readonly &&
    mountType === MountType.BIND &&
    cacheOpt === undefined &&
    SSHOpt === undefined &&
    secretOpt === undefined &&
    resultID === ''
  );
}

/** By input: what mounts of it select. */
function mountPaths(mounts: readonly Mount[], inputs: number, withSecrets = false): string[][] {
  const paths: string[][] = Array.from({ length: inputs }, () => []);
  for (const mount of mounts) {
    const reads = readsInput(mount) || (withSecrets && isSecret(mount));
    if (reads) paths[Number(mount.input)]?.push(cleanPath(mount.selector));
  }
  return paths;
}

function readsInput({ input, mountType }: Mount): boolean {
  return Number(input) >= 0 && (mountType === MountType.BIND || mountType === MountType.CACHE);
}

function selectorOf(selected: readonly string[]): string {
  return selected.length === 0 ? '' : digestOf(selected.join('\0'));
}

function mountDeps(mounts: readonly Mount[], paths: readonly (readonly string[])[]): OtherKeys['deps'] {
  const byContent: boolean[] = [];
  // The last mount of an input decides.
  for (const mount of mounts) if (readsInput(mount)) byContent[Number(mount.input)] = keyedByContent(mount);
  return paths.map((selected, i) => {
    const selector = selectorOf(selected);
    return byContent[i] === true ? { selector, content: contentOf(selected) } : { selector };
  });
}

function keyedByContent({ dest, output, readonly, selector, contentCache }: Mount): boolean {
  if (contentCache === MountContentCache.OFF) return false;
  if (contentCache !== MountContentCache.ON && dest === '/') return false;
  return Number(output) === -1 || readonly || cleanPath(selector) === '/';
}

function contentOf(selected: readonly string[]): ContentSelector[] {
  const top = topPaths(selected);
  if (top.includes('/')) return [{ path: '/' }];
  return top.map((path) => ({ path, followLinks: true }));
}
