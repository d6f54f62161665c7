/** The one check: does this authority have what an endpoint needs? Pure. */
import { fail } from '../errors/index.ts';
import { describeIdentity, matchFor } from './identity.ts';
import type { Authority, Entitlement, Identity, PolicyPlace, Scope } from './types.ts';

/**
 * Refuses a request that the authority does not allow, before any work starts. Throws `unauthenticated` (401) when
 * nobody in particular asks, else `denied` (403). The message names the identity, the endpoint and the missing scopes;
 * the hint has the rule to add.
 */
export function authorize(authority: Authority, needed: readonly Scope[], endpoint: string): void {
  const missing = needed.filter((scope) => !authority.scopes.has(scope));
  if (missing.length === 0) return;
  const { identity, policy } = authority;
  const list = missing.map((scope) => JSON.stringify(scope)).join(' and ');
  const what = `${missing.length === 1 ? 'the scope' : 'the scopes'} ${list}`;
  const details = { endpoint, scopes: missing.join(' ') };
  if (identity.kind === 'anonymous') {
    throw fail(
      'unauthenticated',
      'host',
      `${endpoint} needs ${what}, and this request says not who it is from`,
      {
        hint: 'Use the unix socket, a client certificate, or `Authorization: Bearer TOKEN`.',
        details,
      },
    );
  }
  throw fail('denied', 'host', `${describeIdentity(identity)} may not ${endpoint}: it lacks ${what}`, {
    hint: ruleHint(identity, { scopes: missing }, policy),
    details,
  });
}

/**
 * Refuses entitlements that builds of this identity may not have. Throws `denied`, which names the entitlement; the
 * hint has the rule to add.
 */
export function authorizeEntitlements(authority: Authority, wanted: readonly string[]): Entitlement[] {
  const granted = wanted.filter((each): each is Entitlement => authority.allow.has(each as Entitlement));
  const missing = wanted.filter((each) => !authority.allow.has(each as Entitlement));
  if (missing.length === 0) return granted;
  const { identity, policy } = authority;
  const list = missing.join(' and ');
  // In BuildKit's words, which its clients know.
  const text = `granting entitlement ${list} is not allowed: builds of ${describeIdentity(identity)} may not have it`;
  throw fail('denied', 'host', text, {
    hint: ruleHint(identity, { scopes: ['build'], allow: missing }, policy),
    details: { entitlement: missing.join(' ') },
  });
}

/** A sentence with the exact rule that gives an identity a scope or an entitlement. */
function ruleHint(
  identity: Identity,
  gives: { scopes: readonly string[]; allow?: readonly string[] },
  policy: PolicyPlace | undefined,
): string | undefined {
  const match = matchFor(identity);
  if (match === undefined) return undefined;
  const rule = JSON.stringify({ match, ...gives });
  if (policy === undefined) return `Add to "rules" in the daemon's policy file: ${rule}`;
  if (policy.exists) return `Add to "rules" in ${policy.file}: ${rule}`;
  const rest = [
    { match: { uid: 0 }, scopes: ['*'], allow: ['network.host'] },
    { match: { socketGroup: true }, scopes: ['*'], allow: ['network.host'] },
  ].map((each) => JSON.stringify(each));
  return `Create ${policy.file} with: {"rules": [${[...rest, rule].join(', ')}]}`;
}
