/** A git bundle: the refs of a repository and the objects they lead to, in one file. https://git-scm.com/docs/gitformat-bundle */
import { fail } from '../errors/index.ts';
import { isDigest, normalizeName } from '../oci/index.ts';
import type { AttrReader } from './attrs.ts';
import type { BlobPlace } from './blob.ts';

/**
 * The blob that `git.bundle` names. The client's name of a layout is in `oci.store`, or else it stands before the digest.
 * Throws `invalid` for a text that names no blob.
 */
export function bundleOf(read: AttrReader): BlobPlace | undefined {
  const text = read.text('git.bundle');
  if (text === undefined) return undefined;
  const store = read.text('oci.store');
  // Whose layout it is, the session says.
  read.skip('oci.session');
  const match = /^(docker-image|oci-layout)\+blob:\/\/([^@]+)@(.+)$/.exec(text);
  const [, kind, name = '', digest = ''] = match ?? [];
  if (kind === undefined || !isDigest(digest)) {
    throw fail('invalid', 'llb', `git.bundle ${JSON.stringify(text)} names no blob`, {
      hint: 'Want docker-image+blob://NAME@sha256:… or oci-layout+blob://NAME@sha256:….',
    });
  }
  if (kind === 'oci-layout') return { name, digest, layout: store ?? name };
  return { name: normalizeName(`${name}@${digest}`), digest };
}
