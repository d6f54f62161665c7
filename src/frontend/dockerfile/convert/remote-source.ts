/** The remote sources of ADD: a git repository, or a file of a web server. */

import { posix } from 'node:path';
import { fail } from '../../../errors/index.ts';
import { nameOfEscaped } from '../../../linux/index.ts';
import { http, type OpOptions, type State } from '../../../llb/index.ts';
import { parseChecksum } from '../../../oci/index.ts';
import type { CopyFlags } from '../ast.ts';
import { type GitAddress, gitState, parseGitRef } from './git-ref.ts';

/** A tree with the remote source. */
export interface RemoteSource {
  state: State;
  /** The file in the tree; undefined: the whole tree. */
  file?: string;
}

type RemoteFlags = Pick<CopyFlags, 'checksum' | 'keepGitDir'>;

/** Whether a source is an http or https URL. */
export function isHttp(src: string): boolean {
  return /^https?:\/\//.test(src) && remoteGit(src) === undefined;
}

/** The git repository that a source names; undefined for other sources. */
export function remoteGit(src: string): GitAddress | undefined {
  const ref = parseGitRef(src);
  return ref === undefined || ref.looksLocal ? undefined : ref;
}

/** The remote source that `src` names; undefined for a path. Throws `invalid` for flags that do not fit it. */
export function remoteSource(src: string, flags: RemoteFlags, options: OpOptions): RemoteSource | undefined {
  const ref = remoteGit(src);
  if (ref !== undefined) return { state: gitSource(ref, flags, options) };
  if (!isHttp(src)) return undefined;
  const file = urlFilename(src);
  const checksum = flags.checksum ? parseChecksum(flags.checksum) : undefined;
  return { state: http(src, { filename: file, checksum, ...options }), file };
}

function gitSource(ref: GitAddress, flags: RemoteFlags, options: OpOptions): State {
  const bad = (why: string) => fail('invalid', 'dockerfile', why);
  if (flags.keepGitDir !== undefined && ref.keepGitDir !== undefined && flags.keepGitDir !== ref.keepGitDir) {
    throw bad('inconsistent keep-git-dir configuration');
  }
  if (flags.checksum && ref.checksum && flags.checksum !== ref.checksum) {
    throw bad(`checksum mismatch ${JSON.stringify(flags.checksum)} != ${JSON.stringify(ref.checksum)}`);
  }
  const checksum = ref.checksum ?? (flags.checksum || undefined);
  return gitState({ ...ref, checksum, keepGitDir: ref.keepGitDir ?? flags.keepGitDir }, options);
}

function urlFilename(src: string): string {
  try {
    return posix.basename(nameOfEscaped(new URL(src).pathname)) || '__unnamed__';
  } catch {
    return '__unnamed__';
  }
}
