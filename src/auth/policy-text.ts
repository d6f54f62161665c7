/**
 * Parses the text of a policy file into a policy, or an error with line and column. Pure. docs/security.md describes
 * the format.
 */
import { dirname, resolve } from 'node:path';
import { fail } from '../errors/index.ts';
import { JsonFault, type JsonValue, parseJson, placeOf } from './json.ts';
import {
  fieldsOf,
  idOf,
  listOf,
  meant,
  membersOf,
  numberOf,
  oneOf,
  onlyTrue,
  textOf,
  unique,
} from './json-fields.ts';
import {
  allScopes,
  type Issuer,
  type Match,
  type Policy,
  type PolicyRule,
  type TokenEntry,
} from './policy.ts';
import { parseTokenHash } from './token-hash.ts';
import { type CacheMounts, cacheMountKinds, type Entitlement, entitlements, type Scope } from './types.ts';

/** The algorithms of signatures that a public key checks. Shared secrets (`HS256`) and `none` are never taken. */
const knownAlgorithms = 'RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519'.split(' ');

/** Parses a policy. `file` names it in errors, and files that it names are relative to its folder. Throws `invalid`. */
export function parsePolicy(text: string, file: string): Policy {
  try {
    const top = fieldsOf(parseJson(text), 'the policy', [
      'version',
      'rules',
      'tokens',
      'oidc',
      'cacheMounts',
    ]);
    const version = top.version;
    if (version !== undefined && numberOf(version, 'version') !== 1) {
      throw new JsonFault('this Drydock knows version 1 of the policy', version.at);
    }
    const tokens = listOf(top.tokens, 'tokens').map(tokenOf);
    const issuers = listOf(top.oidc, 'oidc').map((value) => issuerOf(value, file));
    unique(
      listOf(top.tokens, 'tokens'),
      tokens.map(({ name }) => name),
      'token',
    );
    unique(
      listOf(top.oidc, 'oidc'),
      issuers.map(({ issuer }) => issuer),
      'issuer',
    );
    const rules = listOf(top.rules, 'rules').map((value) => ruleOf(value, tokens, issuers));
    const { cacheMounts } = top;
    return {
      rules,
      tokens,
      issuers,
      file,
      cacheMounts: cacheMounts ? cacheMountsOf(cacheMounts) : 'private',
    };
  } catch (err) {
    if (!(err instanceof JsonFault)) throw err;
    const { line, column } = placeOf(text, err.at);
    throw fail('invalid', 'host', `${file}:${line}:${column}: ${err.message}`, {
      hint: 'docs/security.md describes the policy file; `drydock policy check FILE` checks one.',
      details: { file, line, column },
    });
  }
}

function cacheMountsOf(value: JsonValue): CacheMounts {
  return oneOf(value, textOf(value, 'cacheMounts'), 'kind of cache mounts', cacheMountKinds);
}

function ruleOf(value: JsonValue, tokens: readonly TokenEntry[], issuers: readonly Issuer[]): PolicyRule {
  const { match, scopes, allow, comment } = fieldsOf(value, 'a rule', [
    'match',
    'scopes',
    'allow',
    'comment',
  ]);
  if (comment !== undefined) textOf(comment, 'comment');
  if (match === undefined) throw new JsonFault('a rule needs "match"', value.at);
  if (scopes === undefined) throw new JsonFault('a rule needs "scopes"', value.at);
  return {
    match: matchOf(match, tokens, issuers),
    scopes: chosen<Scope>(scopes, 'scope', [...allScopes]),
    allow: allow === undefined ? new Set() : chosen<Entitlement>(allow, 'entitlement', entitlements),
  };
}

function chosen<T extends string>(list: JsonValue, what: string, known: readonly T[]): Set<T> {
  const result = new Set<T>();
  for (const item of listOf(list, `${what}s`)) {
    const text = textOf(item, `a ${what}`);
    if (text === '*') for (const each of known) result.add(each);
    else result.add(oneOf(item, text, what, known));
  }
  return result;
}

const peerKeys = ['uid', 'gid', 'user', 'group', 'socketGroup'] as const;

function matchOf(value: JsonValue, tokens: readonly TokenEntry[], issuers: readonly Issuer[]): Match {
  const fields = fieldsOf(value, 'match', [...peerKeys, 'cert', 'token', 'oidc', 'anonymous']);
  const given = Object.keys(fields);
  const kinds = new Set(given.map((key) => (peerKeys.some((peer) => peer === key) ? 'peer' : key)));
  if (kinds.size === 0) throw new JsonFault('"match" is empty: it must say for whom the rule is', value.at);
  if (kinds.size > 1) {
    throw new JsonFault(
      `a rule is for one kind of identity, and this one has ${given.map((key) => JSON.stringify(key)).join(' and ')}; write a rule for each`,
      value.at,
    );
  }
  const { cert, token, oidc, anonymous, uid, gid, user, group, socketGroup } = fields;
  if (cert !== undefined) return certMatch(cert);
  if (token !== undefined) return tokenMatch(token, tokens);
  if (oidc !== undefined) return oidcMatch(oidc, issuers);
  if (anonymous !== undefined) {
    onlyTrue(anonymous, 'anonymous');
    return { kind: 'anonymous' };
  }
  const match: Match = { kind: 'peer' };
  if (uid !== undefined) match.uid = idOf(uid, 'uid');
  if (gid !== undefined) match.gid = idOf(gid, 'gid');
  if (user !== undefined) match.user = textOf(user, 'user');
  if (group !== undefined) match.group = textOf(group, 'group');
  if (socketGroup !== undefined) {
    onlyTrue(socketGroup, 'socketGroup');
    match.socketGroup = true;
  }
  return match;
}

function certMatch(value: JsonValue): Match {
  const { cn, san, fingerprint } = fieldsOf(value, 'cert', ['cn', 'san', 'fingerprint']);
  if (cn === undefined && san === undefined && fingerprint === undefined) {
    throw new JsonFault('"cert" needs "cn", "san" or "fingerprint"', value.at);
  }
  return {
    kind: 'cert',
    cn: cn && textOf(cn, 'cn'),
    san: san && textOf(san, 'san'),
    fingerprint: fingerprint && fingerprintOf(fingerprint),
  };
}

function fingerprintOf(value: JsonValue): string {
  const hex = textOf(value, 'fingerprint')
    .replace(/^sha256:/i, '')
    .replaceAll(':', '')
    .toLowerCase();
  if (/^[0-9a-f]{64}$/.test(hex)) return hex;
  throw new JsonFault('a fingerprint is the SHA-256 of the certificate, 64 hex digits', value.at);
}

function tokenMatch(value: JsonValue, tokens: readonly TokenEntry[]): Match {
  const name = textOf(value, 'token');
  const names = tokens.map((entry) => entry.name);
  if (!/[*?]/.test(name) && !names.includes(name)) {
    throw new JsonFault(`"tokens" lists none of the name ${name}${meant(name, names)}`, value.at);
  }
  return { kind: 'token', name };
}

function oidcMatch(value: JsonValue, issuers: readonly Issuer[]): Match {
  const { issuer, subject, email, group, claims } = fieldsOf(value, 'oidc', [
    'issuer',
    'subject',
    'email',
    'group',
    'claims',
  ]);
  if (issuer === undefined) throw new JsonFault('"oidc" needs "issuer"', value.at);
  const name = textOf(issuer, 'issuer');
  const known = issuers.map((entry) => entry.issuer);
  if (!known.includes(name)) {
    throw new JsonFault(`"oidc" at the top lists no issuer ${name}${meant(name, known)}`, issuer.at);
  }
  const patterns = new Map<string, string>();
  if (claims !== undefined) {
    for (const [claim, { value: pattern }] of membersOf(claims, 'claims')) {
      patterns.set(claim, textOf(pattern, `the claim ${claim}`));
    }
  }
  if (subject === undefined && email === undefined && group === undefined && patterns.size === 0) {
    throw new JsonFault(
      'this would be for every subject of the issuer: give "subject", "email", "group" or "claims" ("subject": "*" if that is meant)',
      value.at,
    );
  }
  return {
    kind: 'oidc',
    issuer: name,
    subject: subject && textOf(subject, 'subject'),
    email: email && textOf(email, 'email'),
    group: group && textOf(group, 'group'),
    claims: patterns,
  };
}

function tokenOf(value: JsonValue): TokenEntry {
  const { name, hash, expires } = fieldsOf(value, 'a token', ['name', 'hash', 'expires', 'comment']);
  if (name === undefined || hash === undefined) {
    throw new JsonFault('a token needs "name" and "hash"', value.at);
  }
  const text = textOf(name, 'name');
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text)) {
    throw new JsonFault('the name of a token is up to 64 letters, digits, ".", "_" and "-"', name.at);
  }
  const parsed = parseTokenHash(textOf(hash, 'hash'));
  if (parsed === undefined) {
    // The text is not shown: someone may have put the token itself here.
    throw new JsonFault('this is not a hash that `drydock token create` prints', hash.at);
  }
  return { name: text, hash: parsed, expires: expires && timeOf(expires) };
}

function timeOf(value: JsonValue): number {
  const text = textOf(value, 'expires');
  const time = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/.test(text)
    ? Date.parse(text)
    : Number.NaN;
  if (!Number.isNaN(time)) return time;
  throw new JsonFault('"expires" is a time such as 2030-01-31 or 2030-01-31T12:00:00Z', value.at);
}

function issuerOf(value: JsonValue, file: string): Issuer {
  const { issuer, audience, jwks, algorithms, clockSkewSeconds } = fieldsOf(value, 'an OIDC issuer', [
    'issuer',
    'audience',
    'jwks',
    'algorithms',
    'clockSkewSeconds',
    'comment',
  ]);
  if (issuer === undefined || audience === undefined) {
    throw new JsonFault('an OIDC issuer needs "issuer" and "audience"', value.at);
  }
  const audiences = audience.type === 'array' ? audience.items : [audience];
  if (audiences.length === 0) throw new JsonFault('"audience" is empty', audience.at);
  const skew = clockSkewSeconds === undefined ? 30 : numberOf(clockSkewSeconds, 'clockSkewSeconds');
  if (clockSkewSeconds !== undefined && !(skew >= 0 && skew <= 600)) {
    throw new JsonFault('"clockSkewSeconds" is 0 to 600', clockSkewSeconds.at);
  }
  const name = textOf(issuer, 'issuer');
  if (jwks === undefined) secureUrl(issuer, name, '"issuer" without "jwks"');
  return {
    issuer: name,
    audience: audiences.map((item) => textOf(item, 'audience')),
    jwks: jwks && jwksOf(jwks, file),
    algorithms:
      algorithms === undefined
        ? knownAlgorithms
        : listOf(algorithms, 'algorithms').map((item) =>
            oneOf(item, textOf(item, 'an algorithm'), 'algorithm', knownAlgorithms),
          ),
    clockSkewSeconds: skew,
  };
}

function jwksOf(value: JsonValue, file: string): NonNullable<Issuer['jwks']> {
  const text = textOf(value, 'jwks');
  if (!/^[a-z][a-z0-9+.-]*:/i.test(text)) return { file: resolve(dirname(file), text) };
  return { url: secureUrl(value, text, '"jwks"') };
}

/** A URL over which keys may come: over a line that anyone can change they would prove nothing. */
function secureUrl(value: JsonValue, text: string, what: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const loopback = url && /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && loopback)) return text;
  throw new JsonFault(`${what} must be an https:// URL (http:// only on this machine)`, value.at);
}
