/** The capabilities of LLB, by the names that definitions use and clients are told. */
import { fail, nearest } from '../errors/index.ts';
import type { Definition } from '../pb/solver/pb/ops_pb.js';

/**
 * All capabilities of this solver. The names are BuildKit's (solver/pb/caps.go), which misspells one of them for good.
 */
export const llbCaps: readonly string[] = [
  ...under('source', 'image', 'image.resolvemode', 'image.layerlimit', 'image.checksum'),
  ...under('source.local', '', 'unique', 'sessionid', 'includepatterns', 'followpaths', 'excludepatterns'),
  ...under('source.local', 'sharedkeyhint', 'differ', 'metadatatransfer'),
  ...under('source.git', '', 'keepgitdir', 'fullurl', 'httpauth', 'knownsshhosts', 'mountsshsock', 'subdir'),
  ...under('source.git', 'checksum', 'skipsubmodules', 'mtime', 'fetchbycommit', 'signatureverify'),
  ...under('source.git', 'bundle', 'checkoutbundle'),
  ...under('source.http', '', 'auth', 'checksum', 'perm', 'header', 'signatureverify'),
  'soruce.http.uidgid',
  'source.ocilayout',
  'source.imageblob',
  'source.buildop.llbfilename',
  ...under(
    'exec.meta',
    'base',
    'cgroup.parent',
    'network',
    'network.proxy',
    'proxyenv',
    'security',
    'security.devices.v1',
  ),
  ...under('exec.meta', 'setsdefaultpath', 'ulimit', 'cdi', 'removemountstubs.recursive', 'linux.resources'),
  ...under('exec.mount', 'bind', 'bind.readwrite-nooutput', 'cache', 'cache.sharing', 'cache.content'),
  ...under('exec.mount', 'selector', 'tmpfs', 'tmpfs.size', 'secret', 'ssh'),
  ...under('exec', 'cgroup', 'secretenv', 'validexitcode'),
  ...under('file', 'base', 'rm.wildcard', 'rm.nofollowsymlink', 'copy.includeexcludepatterns'),
  ...under('file', 'copy.requiredpaths', 'copy.alwaysreplaceexistingdestpaths', 'copy.modestring'),
  ...under('file', 'symlink.create'),
  ...['constraints', 'platform', 'meta.ignorecache', 'meta.description', 'meta.exportcache'],
  ...['mergeop', 'diffop', 'passthroughop', 'source.policy', 'source.policy.session'],
  ...under('exporter', 'image.annotations', 'image.attestations', 'sourcedateepoch', 'multiple', 'session'),
  ...['gc.freespacefilter', 'history.filter', 'cache.gha', 'cache.s3', 'cache.azblob'],
];

const known = new Set(llbCaps);

function under(prefix: string, ...names: string[]): string[] {
  return names.map((name) => (name === '' ? prefix : `${prefix}.${name}`));
}

/** Throws `unsupported` (hop `llb`) when an op of the definition needs a capability that is not there. */
export function checkCaps(definition: Definition): void {
  for (const metadata of Object.values(definition.metadata)) {
    for (const [cap, needed] of Object.entries(metadata.caps)) {
      if (!needed || known.has(cap)) continue;
      const near = nearest(cap, llbCaps);
      throw fail('unsupported', 'llb', `unknown API capability ${cap}`, {
        hint: near === undefined ? 'The client is newer than this daemon.' : `The nearest there is: ${near}.`,
        details: { capability: cap },
      });
    }
  }
}
