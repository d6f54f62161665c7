/** The rules of a policy, and the authority that they give to an identity. Pure: other files read the policy file. */
import { fitsWildcards } from '../patterns/index.ts';
import type { Accounts } from './accounts.ts';
import {
  type Authority,
  type CacheMounts,
  type Entitlement,
  type Identity,
  type Listener,
  type Scope,
  scopes,
} from './types.ts';

/**
 * The identities that a rule is for; all given members must hold. Texts are patterns (`fitsWildcards`, with `?`) unless a comment
 * says otherwise.
 */
export type Match =
  | {
      kind: 'peer';
      uid?: number;
      gid?: number;
      /** The exact name. */
      user?: string;
      /** The exact name. */
      group?: string;
      /** Members of the group that owns the socket. */
      socketGroup?: true;
    }
  | { kind: 'cert'; cn?: string; san?: string; fingerprint?: string }
  | { kind: 'token'; name: string }
  | {
      kind: 'oidc';
      /** The exact issuer. */
      issuer: string;
      subject?: string;
      email?: string;
      group?: string;
      claims: ReadonlyMap<string, string>;
    }
  | { kind: 'anonymous'; insecureListener?: true };

/** A rule: the identities that it is for, and what it gives them. */
export interface PolicyRule {
  match: Match;
  scopes: ReadonlySet<Scope>;
  allow: ReadonlySet<Entitlement>;
}

export type TokenHash =
  | { kind: 'sha256'; digest: Buffer }
  | { kind: 'scrypt'; n: number; r: number; p: number; salt: Buffer; digest: Buffer };

export interface TokenEntry {
  name: string;
  hash: TokenHash;
  /** Milliseconds since the epoch. */
  expires?: number;
}

/** An OIDC issuer whose tokens are taken. */
export interface Issuer {
  issuer: string;
  audience: string[];
  /** The file or URL of the key set; default: the one in the issuer's discovery document. */
  jwks?: { file: string } | { url: string };
  algorithms: string[];
  clockSkewSeconds: number;
}

/** A parsed policy. */
export interface Policy {
  rules: readonly PolicyRule[];
  tokens: readonly TokenEntry[];
  issuers: readonly Issuer[];
  cacheMounts: CacheMounts;
  /** The file that the policy came from; undefined for the built-in policy. */
  file?: string;
}

export const allScopes: ReadonlySet<Scope> = new Set(Object.keys(scopes) as Scope[]);

/**
 * The policy when there is no file. On the unix socket, root, the daemon's own user and members of the socket's group
 * may do everything. On a listener that a flag declared insecure, everyone may. Others may do nothing.
 */
export function defaultPolicy(ownUid: number): Policy {
  const everything = { scopes: allScopes, allow: new Set<Entitlement>(['network.host']) };
  return {
    rules: [
      { match: { kind: 'peer', uid: 0 }, ...everything },
      { match: { kind: 'peer', uid: ownUid }, ...everything },
      { match: { kind: 'peer', socketGroup: true }, ...everything },
      { match: { kind: 'anonymous', insecureListener: true }, ...everything },
    ],
    tokens: [],
    issuers: [],
    cacheMounts: 'shared',
  };
}

/**
 * The authority of an identity: the union of all rules that match it.
 *
 *     authorityOf(policy, { kind: 'token', name: 'ci' }, { kind: 'tls' }, accounts).scopes // the scopes of its rules
 */
export function authorityOf(
  policy: Policy,
  identity: Identity,
  listener: Listener,
  accounts: Accounts,
): Authority {
  const given = new Set<Scope>();
  const allow = new Set<Entitlement>();
  for (const rule of policy.rules) {
    if (!matches(rule.match, identity, listener, accounts)) continue;
    for (const scope of rule.scopes) given.add(scope);
    for (const entitlement of rule.allow) allow.add(entitlement);
  }
  const apart = policy.file === undefined ? undefined : { cacheMounts: policy.cacheMounts };
  return { identity, scopes: given, allow, apart };
}

function matches(match: Match, id: Identity, listener: Listener, accounts: Accounts): boolean {
  if (match.kind === 'peer') {
    if (id.kind !== 'peer') return false;
    const inGroup = (gid: number | undefined) =>
      gid !== undefined && (id.gid === gid || id.groups.includes(gid));
    return (
      (match.uid === undefined || match.uid === id.uid) &&
      (match.user === undefined || accounts.uidOf(match.user) === id.uid) &&
      (match.gid === undefined || inGroup(match.gid)) &&
      (match.group === undefined || inGroup(accounts.gidOf(match.group))) &&
      (match.socketGroup === undefined || (listener.kind === 'unix' && inGroup(listener.gid)))
    );
  }
  if (match.kind === 'cert') {
    return (
      id.kind === 'cert' &&
      fits(match.cn, id.cn === undefined ? [] : [id.cn]) &&
      fits(match.san, id.sans) &&
      (match.fingerprint === undefined || match.fingerprint === id.fingerprint)
    );
  }
  if (match.kind === 'token') return id.kind === 'token' && fitsWildcards(match.name, id.name, '?');
  if (match.kind === 'oidc') {
    return (
      id.kind === 'oidc' &&
      id.issuer === match.issuer &&
      fits(match.subject, [id.subject]) &&
      fits(match.email, id.email === undefined ? [] : [id.email]) &&
      fits(match.group, id.groups) &&
      [...match.claims].every(([name, pattern]) => {
        const claim = Object.hasOwn(id.claims, name) ? id.claims[name] : undefined;
        return fits(pattern, claim === undefined ? [] : Array.isArray(claim) ? claim : [String(claim)]);
      })
    );
  }
  if (id.kind !== 'anonymous') return false;
  return match.insecureListener === undefined || (listener.kind === 'tcp' && listener.insecure);
}

function fits(pattern: string | undefined, texts: readonly string[]): boolean {
  return pattern === undefined || texts.some((text) => fitsWildcards(pattern, text, '?'));
}
