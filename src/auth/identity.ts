/** Writes and compares identities, and puts them into rules. Pure. */
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

/** The `match` of a policy rule for this identity alone; undefined for nobody in particular. */
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
 * A text that tells an identity from all others and stays the same from request to request; it is no secret. It names
 * the owner of builds and of the things they keep. It is made of a peer's uid, a certificate's fingerprint (a renewed
 * certificate is another identity), a token's name, or an OIDC issuer and subject.
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

/** The facts about an identity in an audit line. */
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

/**
 * The name as a pattern that fits it as narrowly as possible: a `*` in it, which patterns cannot quote, becomes `?`.
 */
function literal(name: string): string {
  return name.replaceAll('*', '?');
}

/**
 * The text without control characters: names come from certificates and tokens, and must not reach a terminal as
 * commands or forge a log line.
 */
export function printable(text: string): string {
  const short = text.length > 256 ? `${text.slice(0, 256)}…` : text;
  return short.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, '?');
}
