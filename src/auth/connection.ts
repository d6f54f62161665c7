/** Finds the identity of a connection's other end: the socket's peer credentials, or the client certificate. */
import type { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { fail } from '../errors/index.ts';
import { idOutside, peerCredentials, peerGroups } from '../linux/index.ts';
import type { Accounts } from './accounts.ts';
import { printable } from './identity.ts';
import type { AnonymousIdentity, CertIdentity, Listener, PeerIdentity } from './types.ts';

type Known = { id: PeerIdentity | CertIdentity | AnonymousIdentity; until: number; from: string };

/**
 * The key of the identity on the socket itself: HTTP/2 hands out a stand-in for the socket, which passes properties on.
 */
const known = Symbol('drydock.identity');

/**
 * The identity that comes with a connection, found once for each connection. Throws `unauthenticated` for a certificate
 * that the listener's CA has not signed, or that has run out since.
 */
export function identifyConnection(
  socket: Socket & { [known]?: Known },
  listener: Listener,
  accounts: Accounts,
): PeerIdentity | CertIdentity | AnonymousIdentity {
  socket[known] ??= find(socket, listener, accounts);
  const { id, until, from } = socket[known];
  if (until < Date.now()) {
    throw badCertificate(from, `it expired at ${new Date(until).toISOString()}`);
  }
  return id;
}

function find(socket: Socket, listener: Listener, accounts: Accounts): Known {
  if (listener.kind === 'unix') {
    const id = peerOf(socket, accounts);
    return { id: id ?? { kind: 'anonymous' }, until: Infinity, from: '' };
  }
  const certificate =
    listener.kind === 'tls' ? (socket as Partial<TLSSocket>).getPeerX509Certificate?.() : undefined;
  if (certificate === undefined) return { id: { kind: 'anonymous' }, until: Infinity, from: '' };
  const from = printable(certificate.subject?.replaceAll('\n', ', ') ?? '');
  const { authorized, authorizationError } = socket as TLSSocket;
  if (!authorized) throw badCertificate(from, String(authorizationError ?? 'not checked'));
  return { id: certIdentity(certificate), until: Date.parse(certificate.validTo), from };
}

function peerOf(socket: Socket, accounts: Accounts): PeerIdentity | undefined {
  const fd = (socket as { _handle?: { fd?: number } | null })._handle?.fd;
  if (fd === undefined || fd < 0) return undefined;
  const ucred = peerCredentials(fd);
  if (ucred === undefined) return undefined;
  // The names and the policy are about the machine's users, not about those of a namespace that this process is in.
  const uid = idOutside('user', ucred.uid);
  const user = accounts.userName(uid);
  const groups = peerGroups(fd)?.map((gid) => idOutside('group', gid));
  return {
    kind: 'peer',
    pid: ucred.pid,
    uid,
    gid: idOutside('group', ucred.gid),
    groups: groups ?? (user === undefined ? [] : accounts.groupsOf(user)),
    user,
  };
}

function certIdentity(certificate: X509Certificate): CertIdentity {
  const { CN } = certificate.toLegacyObject().subject as { CN?: string | string[] };
  return {
    kind: 'cert',
    cn: typeof CN === 'string' && CN !== '' ? CN : undefined,
    sans: splitSans(certificate.subjectAltName ?? ''),
    fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
  };
}

/**
 * The alternative names in Node's text: it joins them with `, ` and puts those that hold such characters into JSON
 * quotes.
 */
export function splitSans(text: string): string[] {
  const names: string[] = [];
  for (const [, type = '', quoted, plain = ''] of text.matchAll(
    /([^:,"]+):(?:("(?:[^"\\]|\\.)*")|([^,]*))(?:, |$)/gy,
  )) {
    names.push(`${type}:${quoted === undefined ? plain : (JSON.parse(quoted) as string)}`);
  }
  return names;
}

function badCertificate(subject: string, why: string): Error {
  return fail('unauthenticated', 'client', `the client certificate (${subject}) is refused: ${why}`, {
    hint: 'Use a certificate for client authentication that is signed by the CA the daemon was started with.',
  });
}
