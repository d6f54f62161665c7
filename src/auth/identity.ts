/** How an identity is written, compared and put into a rule. Pure. */
import type { Identity } from './types.ts';

/** An identity in words, for messages: `user alice (uid 1000)`, `the client certificate CN=ci`. No secrets. */
export function describeIdentity(id: Identity): string {
  switch (id.kind) {
    case 'peer':
      return id.user === undefined ? `uid ${id.uid}` : `user ${printable(id.user)} (uid ${id.uid})`;
    case 'cert':
      return id.cn === undefined
        ? `the client certificate with fingerprint ${id.fingerprint}`
        : `the client certificate CN=${printable(id.cn)}`;
    case 'token':
      return `the token ${printable(id.name)}`;
    case 'oidc':
      return `${printable(id.subject)} (OIDC, ${printable(id.issuer)})`;
    case 'anonymous':
      return 'an anonymous client';
  }
}

/** The `match` of a policy rule for just this identity; undefined for nobody in particular. */
export function matchFor(id: Identity): Record<string, unknown> | undefined {
  switch (id.kind) {
    case 'peer':
      return { uid: id.uid };
    case 'cert':
      return { cert: id.cn === undefined ? { fingerprint: id.fingerprint } : { cn: literal(id.cn) } };
    case 'token':
      return { token: id.name };
    case 'oidc':
      return { oidc: { issuer: id.issuer, subject: literal(id.subject) } };
    case 'anonymous':
      return undefined;
  }
}

/**
 * What tells an identity from all others, as text, and stays the same from request to request; no secret. Builds and
 * what belongs to them are named by it: a peer is its uid, a certificate its fingerprint (a renewed one is another
 * identity), a token its name, an OIDC subject its issuer and subject.
 */
export function identityKey(id: Identity): string {
  switch (id.kind) {
    case 'peer':
      return `peer ${id.uid}`;
    case 'cert':
      return `cert ${id.fingerprint}`;
    case 'token':
      return `token ${id.name}`;
    case 'oidc':
      return `oidc ${JSON.stringify([id.issuer, id.subject])}`;
    case 'anonymous':
      return 'anonymous';
  }
}

/** The facts of an identity that go into an audit line. */
export function auditIdentity(id: Identity): Record<string, unknown> {
  switch (id.kind) {
    case 'peer':
      return { kind: id.kind, uid: id.uid, gid: id.gid, pid: id.pid, user: id.user };
    case 'cert':
      return { kind: id.kind, cn: id.cn, sans: id.sans, fingerprint: id.fingerprint };
    case 'token':
      return { kind: id.kind, name: id.name };
    case 'oidc':
      return { kind: id.kind, issuer: id.issuer, subject: id.subject, email: id.email };
    case 'anonymous':
      return { kind: id.kind };
  }
}

/** A name as a pattern that, at its narrowest, fits it: a `*` in it, which patterns cannot quote, becomes `?`. */
function literal(name: string): string {
  return name.replaceAll('*', '?');
}

/** Names come from certificates and tokens; control characters must not reach a terminal or forge a log line. */
export function printable(text: string): string {
  const short = text.length > 256 ? `${text.slice(0, 256)}…` : text;
  return short.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, '?');
}
