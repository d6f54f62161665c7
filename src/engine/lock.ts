/** The lock of a build: a source policy that pins every source which the build has used, and denies all others. Pure. */
import { fail, maskUrls } from '../errors/index.ts';
import { canonicalSource } from '../llb/index.ts';
import { formatReference, parseReference } from '../oci/index.ts';
import type { SourceInUse } from '../solver/index.ts';

interface LockRule {
  action: 'ALLOW' | 'DENY' | 'CONVERT';
  selector: { identifier: string; match_type: 'EXACT' | 'WILDCARD' };
  updates?: { identifier?: string; attrs?: Record<string, string> };
}

/** A source policy in the form that buildx and buildctl read. */
export interface Lock {
  version: 1;
  rules: LockRule[];
}

const imageScheme = 'docker-image://';

/**
 * Makes the lock of a build's sources. An image is taken by the digest that its name led to; git refs and files of web
 * servers must be what they were. Folders and uploads of the client may be anything. Throws `unsupported` for a source
 * whose URL has a password in it, which the lock would tell.
 */
export function lockOf(sources: readonly SourceInUse[]): Lock {
  const rules = new Map<string, LockRule>();
  const add = (rule: LockRule) => rules.set(JSON.stringify([rule.action, rule.selector.identifier]), rule);
  const allow = (identifier: string, match_type: 'EXACT' | 'WILDCARD' = 'EXACT') =>
    add({ action: 'ALLOW', selector: { identifier, match_type } });
  const convert = (identifier: string, updates: NonNullable<LockRule['updates']>) =>
    add({ action: 'CONVERT', selector: { identifier, match_type: 'EXACT' }, updates });
  for (const { source, used } of sources) {
    const { identifier, attrs } = canonicalSource(source);
    if (maskUrls(identifier) !== identifier) throw secretIn(identifier);
    if (used.kind === 'local') {
      allow(`${identifier.split('://', 1)[0]}://*`, 'WILDCARD');
      continue;
    }
    allow(identifier);
    if (used.kind === 'http' && attrs['http.checksum'] === undefined) {
      convert(identifier, { attrs: { 'http.checksum': used.digest } });
    } else if (used.kind === 'git' && attrs['git.checksum'] === undefined) {
      convert(identifier, { attrs: { 'git.checksum': used.commit } });
    } else if (used.kind === 'image' && identifier.startsWith(imageScheme)) {
      const { digest, ...name } = parseReference(identifier.slice(imageScheme.length));
      // An image of this store alone is known by its name only, and must be what it was.
      if (digest === undefined) convert(identifier, { attrs: { 'image.checksum': used.digest } });
      else if (name.tag !== undefined) convert(`${imageScheme}${formatReference(name)}`, { identifier });
    }
  }
  const order = { DENY: 0, ALLOW: 1, CONVERT: 2 };
  const sorted = [...rules.values()].sort(
    (a, b) => order[a.action] - order[b.action] || (a.selector.identifier < b.selector.identifier ? -1 : 1),
  );
  const deny: LockRule = { action: 'DENY', selector: { identifier: '*', match_type: 'WILDCARD' } };
  return { version: 1, rules: [deny, ...sorted] };
}

function secretIn(identifier: string): Error {
  return fail(
    'unsupported',
    'client',
    `${maskUrls(identifier)}: a URL with a password in it cannot be locked`,
    {
      hint: 'Take the password out of the URL: a secret or a credential helper can give it.',
    },
  );
}
