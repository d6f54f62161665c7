/** The keys of BuildKit's sources. */
import { goJson } from '../llb/index.ts';
import { chainId, type Digest, digestOf } from '../oci/index.ts';
import type { SourceOp } from '../pb/solver/pb/ops_pb.js';
import type { CacheMap, OtherKeys, UsedSource, Vertex } from '../solver/index.ts';

/** The keys of a source, by what it was found to be; undefined when BuildKit has no name for it, or its name is not known. */
export function sourceKeys(
  vertex: Vertex,
  { identifier, attrs }: SourceOp,
  { used, layers = [] }: CacheMap,
): OtherKeys | undefined {
  switch (used?.kind) {
    case 'image': {
      const { platform } = vertex.op;
      const limit = attrs['image.layerlimit'] ?? attrs['oci.layerlimit'];
      const manifest = {
        Digest: used.digest,
        OS: platform?.OS ?? used.platform.os,
        Arch: platform?.Architecture ?? used.platform.architecture,
        Variant: (platform === undefined ? used.platform.variant : platform.Variant) || undefined,
        OSVersion: platform?.OSVersion || undefined,
        OSFeatures: platform?.OSFeatures.length ? platform.OSFeatures : undefined,
        Limit: limit === undefined ? undefined : Number(limit),
      };
      const chain = chainId(layers.map(({ diffId }) => diffId));
      return named([digestOf(goJson(manifest)), ...(chain === undefined ? [] : [chain])]);
    }
    case 'git':
      return gitKeys(identifier, attrs, used.commit);
    case 'http':
      return httpKeys(attrs, used);
    default:
      return undefined;
  }
}

/** What says how a repository is reached, and not what is taken from it. */
const gitAccess = [
  ...['git.fullurl', 'git.checksum', 'git.authtokensecret', 'git.authheadersecret'],
  ...['git.knownsshhosts', 'git.mountsshsock'],
];

/** A commit's files. What has Git's own files besides is named by more than the commit: not known here. */
function gitKeys(identifier: string, attrs: SourceOp['attrs'], commit: string): OtherKeys | undefined {
  const { 'git.skipsubmodules': skip, 'git.mtime': mtime, ...others } = attrs;
  if (!Object.keys(others).every((name) => gitAccess.includes(name))) return undefined;
  const [, fragment = ''] = /#(.*)$/.exec(identifier) ?? [];
  const colon = fragment.indexOf(':');
  const subdir = colon < 0 ? '' : fragment.slice(colon + 1);
  const parts = [
    commit,
    subdir === '' ? '' : `:${subdir}`,
    skip === 'true' ? '(skip-submodules)' : '',
    mtime === undefined || mtime === 'checkout' ? '' : `(mtime=${mtime})`,
  ];
  return named([parts.join('')]);
}

/** A file of a server, under the name that the op gives it. */
function httpKeys(
  attrs: SourceOp['attrs'],
  { digest, lastModified }: Extract<UsedSource, { kind: 'http' }>,
): OtherKeys | undefined {
  const { 'http.filename': filename, 'http.checksum': _, ...others } = attrs;
  if (filename === undefined || Object.keys(others).length > 0) return undefined;
  // Go writes a time anew that was sent in another form.
  if (lastModified !== undefined && !isHttpTime(lastModified)) return undefined;
  const file = { Filename: filename, Perm: 0, UID: 0, GID: 0, Checksum: digest, LastModTime: lastModified };
  return named([digestOf(goJson(file))]);
}

function isHttpTime(text: string): boolean {
  return new Date(text).toUTCString() === text;
}

function named(keys: readonly string[]): OtherKeys {
  return { ops: keys.map((key): Digest => digestOf(`buildkit.source.v0:${key}`)), deps: [] };
}
