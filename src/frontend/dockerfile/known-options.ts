/** The options of `dockerfile.v0`, so that one that nobody reads is reported and not ignored in silence. */
import { limitNames } from '../../llb/index.ts';

/** The names, from https://github.com/moby/buildkit/blob/master/frontend/dockerui/config.go. */
const names = new Set([
  ...['add-hosts', 'cgroup-parent', 'cmdline', 'context', 'contextkey', 'contextsubdir', 'dockerfilekey'],
  ...['filename', 'force-network-mode', 'frontend.caps', 'hostname', 'image-resolve-mode', 'multi-platform'],
  ...['no-cache', 'platform', 'requestid', 'shm-size', 'source', 'target', 'ulimit'],
  ...limitNames,
  // Read with the request itself, whatever its frontend is.
  ...['cache-from', 'cache-imports'],
]);

/** The prefixes of names. `vcs:*` are for the record of the build, and `attest:*` are read with the request. */
const prefixes = [
  'attest:',
  'build-arg:',
  'context:',
  'input-metadata:',
  'label:',
  'local-sessionid:',
  'vcs:',
];

/**
 * The options of a request that mean nothing to `dockerfile.v0`. `contextkey` names another option that has the
 * context; that option is then known, too.
 */
export function unknownOptions(options: Readonly<Record<string, string>>): string[] {
  return Object.keys(options).filter(
    (name) =>
      !names.has(name) && name !== options.contextkey && !prefixes.some((prefix) => name.startsWith(prefix)),
  );
}
