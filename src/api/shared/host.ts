/** The parts of the daemon that an API needs. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Ask, Authority, AuthRequest } from '../../auth/index.ts';
import type { Engine } from '../../engine/index.ts';
import type { ClientSession } from '../../session/index.ts';
import type { Behind } from '../docker/behind/behind.ts';
import type { Builds } from './builds.ts';
import type { EventBus } from './events.ts';
import type { Observed } from './observed.ts';
import type { BuildsByResult, RecordFollowed } from './recording.ts';

/** The sessions that clients have opened. */
interface SessionPool {
  /**
   * The session that `owner` (`identityKey`) has opened under this ID; waits up to `waitMs` for it. Undefined when it
   * is gone or does not come. A build that names a session holds it as a `namedSession`.
   */
  find(id: string, waitMs: number, signal?: AbortSignal, owner?: string): Promise<ClientSession | undefined>;
  /**
   * Takes over a connection that asks to become a session of `owner`, and answers it. Throws before that when it cannot
   * become one.
   */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, owner?: string): void;
  /** Makes a session of a stream that carries its bytes; `sessionOverCall` uses it. */
  accept(stream: Duplex, headers: IncomingHttpHeaders, owner?: string, near?: boolean): ClientSession;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type Log = (level: LogLevel, message: string, fields?: Record<string, unknown>) => void;

/** A daemon, as the APIs that it serves see it. */
export interface ApiHost {
  readonly engine: Engine;
  readonly builds: Builds;
  readonly events: EventBus;
  readonly sessions: SessionPool;
  readonly log: Log;
  /**
   * Serves BuildKit's gRPC API on a connection that a client gave away by `POST /grpc`; its 101 is written already.
   * Undefined where that API is not served.
   */
  grpc?(socket: Duplex, authority: Authority): void;
  /**
   * Begins the log and the record of a build that did not come by BuildKit's API. Undefined where that API is not served:
   * nobody could ask for them.
   */
  record?: RecordFollowed;
  /** The builds in the history by what they made. Undefined where there is no history. */
  buildsByResult?: BuildsByResult;
  /** The running builds and the history. Undefined where BuildKit's API is not served. */
  observed?: Observed;
  /** The oldest version of docker's API that clients may ask for; undefined: the oldest that is spoken here. */
  readonly minApiVersion?: string;
  /** Whether clients are told that there are experimental features. */
  readonly experimental?: boolean;
  /** The name of this machine, as `info` shows it. */
  readonly hostname: string;
  /** The address and the namespace of containerd, when it is the store. */
  readonly containerd?: { address: string; namespace: string };
  /** Whether the log has debug lines. */
  readonly debug: boolean;
  /** The registry hosts and networks that are spoken to without TLS. */
  readonly insecureRegistries: readonly string[];
  /** The mirrors of Docker Hub. */
  readonly registryMirrors: readonly string[];
  /** The Docker engine that does what Drydock does not: containers, volumes, networks. */
  readonly behind?: Behind;
  /** Finds out who asks, and whether they may. Throws `unauthenticated` or `denied`. */
  admit(request: AuthRequest, ask: Ask): Promise<Authority>;
  /** Prometheus text of `/metrics`. */
  metrics(): Promise<string>;
  /** Whether the daemon takes requests; for `/healthz`. */
  health(): { ok: boolean; reason?: string };
}
