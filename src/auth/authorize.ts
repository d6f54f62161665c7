/** The one check: does this authority have what an endpoint needs? Pure. */
import { type DrydockError, fail } from '../errors/error.ts';
import { describeIdentity, matchFor } from './identity.ts';
import type { Authority, Entitlement, Identity, Scope } from './types.ts';

/** Where the policy is, for hints: the file in use, or the file that would be used if it were there. */
export interface PolicyPlace {
  file: string;
  exists: boolean;
}

/**
 * Refuses what the authority may not do, before any work starts: `unauthenticated` (401) when nobody in particular
 * asks, else `denied` (403). The message names identity, endpoint and what is missing; the hint has the rule to add.
 */
export function authorize(
  authority: Authority,
  needed: readonly Scope[],
  endpoint: string,
  policy?: PolicyPlace,
): void {
  const missing = needed.filter((scope) => !authority.scopes.has(scope));
  if (missing.length === 0) return;
  const { identity } = authority;
  const list = missing.map((scope) => JSON.stringify(scope)).join(' and ');
  const what = `${missing.length === 1 ? 'the scope' : 'the scopes'} ${list}`;
  const details = { endpoint, scopes: missing.join(' ') };
  if (identity.kind === 'anonymous') {
    throw fail(
      'unauthenticated',
      'client',
      `${endpoint} needs ${what}, and this request says not who it is from`,
      {
        hint: 'Use the unix socket, a client certificate, or `Authorization: Bearer TOKEN`.',
        details,
      },
    );
  }
  throw fail('denied', 'client', `${describeIdentity(identity)} may not ${endpoint}: it lacks ${what}`, {
    hint: ruleHint(identity, { scopes: missing }, policy),
    details,
  });
}

/**
 * Refuses entitlements that this identity's builds may not have. Throws `denied` naming the entitlement, with the rule
 * to add as hint.
 */
export function authorizeEntitlements(
  authority: Authority,
  wanted: readonly string[],
  policy?: PolicyPlace,
): Entitlement[] {
  const granted = wanted.filter((each): each is Entitlement => authority.allow.has(each as Entitlement));
  const missing = wanted.filter((each) => !authority.allow.has(each as Entitlement));
  if (missing.length === 0) return granted;
  throw entitlementDenied(authority.identity, missing, policy);
}

function entitlementDenied(
  identity: Identity,
  missing: readonly string[],
  policy?: PolicyPlace,
): DrydockError {
  const list = missing.join(' and ');
  return fail('denied', 'client', `builds of ${describeIdentity(identity)} may not have ${list}`, {
    hint: ruleHint(identity, { scopes: ['build'], allow: missing }, policy),
    details: { entitlement: missing.join(' ') },
  });
}

/** Sentence with the exact rule that gives an identity something. */
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
