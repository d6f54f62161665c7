/**
 * The contract of auth. It finds out once, at the edge, before any work starts, who asks (`Identity`) and what they may
 * do (`Authority`). The authority then travels with the work as a plain value, and nothing further in asks again.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';

/** The things that a request may be allowed to do, with a sentence each. */
export const scopes = {
  build: "start builds; watch, use and cancel those of one's own",
  'builds:all': 'see, use, cancel and remove builds, and what they keep, of all identities',
  'images:read': 'list, inspect, save and look up images',
  'images:write': 'pull, load, import, tag, push and remove images',
  'cache:read': 'see what the build cache holds',
  'cache:write': 'import and export build cache on its own, outside of a build',
  'cache:prune': 'remove build cache',
  'cache:share': "have the results of one's builds written into the cache of a fleet (`--shared-cache`)",
  'system:read': 'read version, info, events, disk usage and metrics',
  'engine:read':
    'list and inspect containers, volumes and networks of the engine behind, and read their logs and files',
  'engine:write':
    'everything else at the engine behind: run containers and speak with them, which is root on its machine',
} as const;

export type Scope = keyof typeof scopes;

/** The things that a build step may ask for beyond the sandbox. They are granted to identities. */
export const entitlements = ['network.host', 'security.insecure', 'device'] as const;
export type Entitlement = (typeof entitlements)[number];

/** The process at the other end of a unix socket, as the kernel knew it when it connected. */
export interface PeerIdentity {
  kind: 'peer';
  uid: number;
  gid: number;
  pid: number;
  /** Supplementary groups. */
  groups: readonly number[];
  /** The name of the uid, when `/etc/passwd` has one. */
  user?: string;
}

/** The holder of a client certificate that the listener's CA has signed. */
export interface CertIdentity {
  kind: 'cert';
  /** The subject's common name; undefined when there is none, or more than one. */
  cn?: string;
  /** The subject's alternative names, as `DNS:…`, `URI:…`, `email:…`, `IP Address:…`. */
  sans: readonly string[];
  /** The SHA-256 of the certificate, in lower-case hex without colons. */
  fingerprint: string;
}

/** The holder of a static token (or password) that the policy file lists. */
export interface TokenIdentity {
  kind: 'token';
  name: string;
}

/** The subject of a checked OIDC token. */
export interface OidcIdentity {
  kind: 'oidc';
  issuer: string;
  subject: string;
  email?: string;
  groups: readonly string[];
  /** The claims of the token that are text, a number, a boolean or a list of text. */
  claims: Readonly<Record<string, string | number | boolean | readonly string[]>>;
}

/** Nobody in particular: a request without a socket's peer, a certificate or a token. */
export interface AnonymousIdentity {
  kind: 'anonymous';
}

export type Identity = PeerIdentity | CertIdentity | TokenIdentity | OidcIdentity | AnonymousIdentity;

/** The policy file that is in use, or that would be used if it were there. */
export interface PolicyPlace {
  file: string;
  exists: boolean;
}

/** The answer to "who asks, and what may they do", given once for each request. */
export interface Authority {
  readonly identity: Identity;
  readonly scopes: ReadonlySet<Scope>;
  /** The entitlements that builds of this identity may be granted. */
  readonly allow: ReadonlySet<Entitlement>;
  /** The policy that gives this authority, for hints. */
  readonly policy?: PolicyPlace;
  /** Set when a policy file tells identities apart: what builds of this one share with those of others. */
  readonly apart?: { readonly cacheMounts: CacheMounts };
}

/** Whether each identity's builds have cache mounts of their own, or share them with everybody's. */
export const cacheMountKinds = ['private', 'shared'] as const;
export type CacheMounts = (typeof cacheMountKinds)[number];

/** The listener on which a connection came in, as far as the daemon knows it. */
export type Listener =
  | {
      kind: 'unix';
      /** The group that owns the socket. */
      gid: number;
    }
  | { kind: 'tls' }
  | {
      /** Plain TCP on loopback. */
      kind: 'tcp';
      /** Whether a flag lets everyone in who can connect. It counts when there is no policy file. */
      insecure: boolean;
    };

/** The parts of a request that auth looks at. Node's HTTP/1.1 and HTTP/2 requests have them. */
export interface AuthRequest {
  socket: Socket;
  headers: IncomingHttpHeaders;
}

/**
 * The question to auth: it makes the decision, the decision's message, and its line in the audit log.
 *
 *     { endpoint: 'POST /build', scopes: ['build'] }
 */
export interface Ask {
  /** The method and path, `POST /build`. A query may be left on; it is never logged. */
  endpoint: string;
  /** The scopes that are needed, all of them; empty for endpoints that are open to everyone. */
  scopes: readonly Scope[];
  /**
   * Whether the request starts and changes nothing. Without an audit file, the line of an allowed one goes to the log
   * at level debug.
   */
  reads?: boolean;
  /**
   * Set where our own web page may ask: for its document, to which other pages may lead, or for its data. Requests of
   * other pages are refused everywhere.
   */
  fromPage?: 'document' | 'data';
  /** Ties the audit line to the daemon's other log lines; default: a new one. */
  requestId?: string;
}

/** Auth of one daemon: it knows the policy in force, and writes the audit log. */
export interface Auth {
  /**
   * Finds out who asks and what they may do. Looks first whether the policy file has changed. Throws `unauthenticated`
   * for a credential that is not valid, and `unavailable` when it cannot be checked right now.
   */
  authority(request: AuthRequest, listener: Listener, ask?: Pick<Ask, 'fromPage'>): Promise<Authority>;
  /**
   * Finds out the authority and checks it against the question; writes a line to the audit log either way. Throws
   * `unauthenticated` (401) or `denied` (403); nothing has started then.
   */
  admit(request: AuthRequest, listener: Listener, ask: Ask): Promise<Authority>;
  /** Checks an authority that is known from an earlier request against the question, with a line in the audit log. */
  check(authority: Authority, ask: Ask): void;
  /**
   * Reads the policy file now, and opens the audit file anew (SIGHUP). Never throws: a broken policy is logged, and the
   * old one stays.
   */
  reload(): void;
  close(): void;
}
