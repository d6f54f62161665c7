/**
 * The door of auth. Who asks (`Identity`) and what they may do (`Authority`) is found out once, at the edge, before
 * any work starts. The authority then travels with the work as a plain value; nothing further in asks again.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';

/** What a request can be allowed to do, with a sentence each. */
export const scopes = {
  build: "start builds; watch, use and cancel those of one's own",
  'builds:all': 'see, use, cancel and remove builds, and what they keep, of all identities',
  'images:read': 'list, inspect, save and look up images',
  'images:write': 'pull, load, import, tag, push and remove images',
  'cache:read': 'see what the build cache holds',
  'cache:write': 'import and export build cache on its own, outside of a build',
  'cache:prune': 'remove build cache',
  'system:read': 'read version, info, events, disk usage and metrics',
} as const;

export type Scope = keyof typeof scopes;

/** What a build step can ask for beyond the sandbox; granted per identity. */
export const entitlements = ['network.host', 'security.insecure'] as const;
export type Entitlement = (typeof entitlements)[number];

/** The process at the other end of a unix socket, as the kernel knows it from when it connected. */
export interface PeerIdentity {
  kind: 'peer';
  uid: number;
  gid: number;
  pid: number;
  /** Supplementary groups. */
  groups: readonly number[];
  /** Name of the uid, where `/etc/passwd` has one. */
  user?: string;
}

/** The holder of a client certificate that the listener's CA vouches for. */
export interface CertIdentity {
  kind: 'cert';
  /** The subject's common name; missing when there is none or more than one. */
  cn?: string;
  /** Subject alternative names as `DNS:…`, `URI:…`, `email:…`, `IP Address:…`. */
  sans: readonly string[];
  /** SHA-256 of the certificate, lower-case hex without colons. */
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
  /** The token's claims that are text, number, boolean or a list of text. */
  claims: Readonly<Record<string, string | number | boolean | readonly string[]>>;
}

/** Nobody in particular: no socket peer, no certificate, no token. */
export interface AnonymousIdentity {
  kind: 'anonymous';
}

export type Identity = PeerIdentity | CertIdentity | TokenIdentity | OidcIdentity | AnonymousIdentity;

/** Where the policy is: the file in use, or the file that would be used if it were there. */
export interface PolicyPlace {
  file: string;
  exists: boolean;
}

/** The answer to "who, and what may they do", given once per request. */
export interface Authority {
  readonly identity: Identity;
  readonly scopes: ReadonlySet<Scope>;
  /** Entitlements that builds of this identity may be granted. */
  readonly allow: ReadonlySet<Entitlement>;
  /** The policy that says so, for hints. */
  readonly policy?: PolicyPlace;
  /** Set where a policy file tells identities apart: what builds share with those of others. */
  readonly apart?: { readonly cacheMounts: CacheMounts };
}

/** Whether cache mounts of builds are each identity's own, or everybody's. */
export const cacheMountKinds = ['private', 'shared'] as const;
export type CacheMounts = (typeof cacheMountKinds)[number];

/** What the daemon knows of the listener that a connection came in on. */
export type Listener =
  | {
      kind: 'unix';
      /** Group that owns the socket. */
      gid: number;
    }
  | { kind: 'tls' }
  | {
      /** Plain TCP on loopback. */
      kind: 'tcp';
      /** Anyone who can connect was let in by a flag that says so; used when there is no policy file. */
      insecure: boolean;
    };

/** What auth looks at of a request. Node's HTTP/1.1 and HTTP/2 requests both fit. */
export interface AuthRequest {
  socket: Socket;
  headers: IncomingHttpHeaders;
}

/** What is asked for, for the decision, its message and its line in the audit log. */
export interface Ask {
  /** Method and path, `POST /build`; a query is never logged and may be left on. */
  endpoint: string;
  /** All of these are needed; empty for endpoints that are open to anyone. */
  scopes: readonly Scope[];
  /** Nothing is started or changed by it: without an audit file its line, when allowed, is one for debugging. */
  reads?: boolean;
  /** Correlates the audit line with the daemon's other logs; made up when missing. */
  requestId?: string;
}

export interface Auth {
  /**
   * Who asks and what they may do. Reads a changed policy file first. Throws `unauthenticated` when a credential was
   * presented that does not hold, `unavailable` when it cannot be checked right now.
   */
  authority(request: AuthRequest, listener: Listener): Promise<Authority>;
  /**
   * `authority`, then `authorize` for what is asked, with a line in the audit log either way. Throws `unauthenticated`
   * (401) or `denied` (403); nothing has started then.
   */
  admit(request: AuthRequest, listener: Listener, ask: Ask): Promise<Authority>;
  /** The decision alone, for one whose authority is known from an earlier request, with its line in the audit log. */
  check(authority: Authority, ask: Ask): void;
  /** Reads the policy file now and opens the audit file anew (SIGHUP). Never throws; a broken policy is logged and the old one kept. */
  reload(): void;
  close(): void;
}
