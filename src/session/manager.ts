/**
 * The sessions that clients have opened, by `POST /session` (after a 101 the connection is turned round) or by
 * BuildKit's `Control/Session` (its bytes come as a stream of messages). On either of them Drydock is the gRPC client.
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { fail, throwIfAborted } from '../errors/index.ts';
import { Arrivals } from '../flow/index.ts';
import { answerUpgrade, GrpcChannel, withHead } from '../grpc/index.ts';
import { CallMemory } from './calls-ahead.ts';
import { ConnectedSession } from './client-session.ts';
import { plainSessionId, readSessionInfo } from './headers.ts';
import { clientHealth, type HealthOptions, healthMethod, watchHealth } from './health.ts';
import { isNear } from './near.ts';
import type { ClientSession } from './types.ts';

interface SessionManagerOptions {
  /** How long a client may take for its first word on a connection, once something is asked of it, in ms. */
  helloMs?: number;
  /** How often a client is checked for being there while something is asked of it, in ms. */
  pingMs?: number;
  /** The checks of clients that serve health checks. */
  health?: Partial<HealthOptions>;
  log?: (level: 'debug' | 'warn', message: string, fields?: Record<string, unknown>) => void;
}

/** How many ended sessions are remembered, so that nobody waits for one that has come and gone. */
const rememberGone = 4096;

/**
 * The connected sessions of a daemon.
 *
 * A session comes by `upgrade` or `accept`, is found by builds with `find`, which may wait for it, and ends with its
 * connection. `close` ends all of them.
 */
export class SessionManager {
  readonly #options: SessionManagerOptions;
  /** The keys (`keyOf`) of sessions whose connections are being answered. */
  readonly #arriving = new Set<string>();
  readonly #sessions = new Map<string, ConnectedSession>();
  readonly #gone = new Set<string>();
  readonly #arrivals = new Arrivals();
  readonly #memory = new CallMemory();

  constructor(options: SessionManagerOptions = {}) {
    this.#options = options;
  }

  /** How many sessions are connected now. */
  get size(): number {
    return this.#sessions.size;
  }

  /**
   * The session that `owner` has opened under this ID; waits up to `waitMs` for one that has not come yet. Undefined
   * when it does not come or has come and gone. Another owner's is as good as none: secrets and files are given to their
   * owner alone. Rejects with `canceled` when the signal fires.
   */
  async find(
    id: string,
    waitMs: number,
    signal?: AbortSignal,
    owner?: string,
  ): Promise<ClientSession | undefined> {
    const name = plainSessionId(id);
    const key = keyOf(name, owner);
    const until = Date.now() + waitMs;
    for (;;) {
      throwIfAborted(signal);
      const found = this.#sessions.get(key);
      if (found !== undefined) return found;
      const left = until - Date.now();
      if (this.#gone.has(key) || left <= 0) break;
      // Another owner's session of the same ID changes nothing, not even the time of the answer.
      await this.#arrivals.next(name, left, signal);
    }
    this.#noteAnothers(name, owner);
    return undefined;
  }

  /** Tells the operator, in the log, that somebody has asked for a session that somebody else has. */
  #noteAnothers(id: string, asked: string | undefined): void {
    const theirs = [...this.#sessions.values()].find(
      (session) => session.id === id && session.owner !== asked,
    );
    if (theirs === undefined) return;
    this.#options.log?.('warn', 'a session was named by somebody else than its owner', {
      session: id,
      owner: theirs.owner,
      asked,
    });
  }

  /**
   * Takes over the connection of a request, answers 101 and makes a session of it. Throws before anything is answered:
   * `invalid` when the request has no ID or asks for another protocol than h2c, `conflict` when the ID is in use.
   */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, owner?: string): void {
    const protocol = request.headers.upgrade ?? '';
    if (protocol.toLowerCase() !== 'h2c') {
      const asked = protocol === '' ? 'no upgrade' : `an upgrade to ${JSON.stringify(protocol)}`;
      throw fail('invalid', 'session', `the session request asks for ${asked}, not for h2c`, {
        hint: 'Send the headers Connection: Upgrade and Upgrade: h2c.',
      });
    }
    const key = keyOf(this.#check(request.headers, owner).id, owner);
    // An unheard error of a broken connection would end the process.
    socket.on('error', () => {});
    if (socket instanceof Socket) {
      socket.setTimeout(0);
      socket.setNoDelay(true);
      socket.setKeepAlive(true, 30_000);
    }
    this.#arriving.add(key);
    const taken = () => {
      this.#arriving.delete(key);
      this.accept(withHead(socket, head), request.headers, owner, isNear(request.socket));
    };
    answerUpgrade(socket, taken, () => this.#arriving.delete(key));
  }

  /**
   * Makes a session of a stream that carries HTTP/2 bytes (of `Control/Session`: `sessionOverCall`). `headers` are the
   * `x-docker-expose-session-…` ones, in lower case. The session is over when `closed` fires; ending the stream ends
   * the session. `near`: the client is on this machine. Throws `invalid` without an ID, `conflict` when the ID is in use.
   */
  accept(stream: Duplex, headers: IncomingHttpHeaders, owner?: string, near = false): ClientSession {
    const info = this.#check(headers, owner);
    const key = keyOf(info.id, owner);
    const { helloMs = 5_000, pingMs } = this.#options;
    const channel = new GrpcChannel(stream, { near, helloMs, ...(pingMs && { pingMs }) });
    const session = new ConnectedSession(info, channel, owner, this.#memory);
    if (info.methods.has(healthMethod.toLowerCase())) {
      const { healthMs } = info;
      watchHealth(channel, healthMs === undefined ? this.#options.health : clientHealth(healthMs));
    }
    this.#sessions.set(key, session);
    this.#gone.delete(key);
    this.#options.log?.('debug', 'session opened', { session: info.id, name: info.name });
    session.closed.addEventListener('abort', () => this.#remove(session), { once: true });
    this.#arrivals.tell(info.id);
    return session;
  }

  /** Ends all sessions. */
  close(): void {
    for (const session of this.#sessions.values()) session.close();
  }

  #check(headers: IncomingHttpHeaders, owner: string | undefined) {
    const info = readSessionInfo(headers);
    const key = keyOf(info.id, owner);
    if (this.#sessions.has(key) || this.#arriving.has(key)) {
      throw fail('conflict', 'session', `session ${info.id} already exists`, {
        hint: 'A client makes up a new ID for each session; end the other one first.',
      });
    }
    return info;
  }

  #remove(session: ConnectedSession): void {
    const { id, owner } = session;
    const key = keyOf(id, owner);
    this.#sessions.delete(key);
    this.#gone.add(key);
    if (this.#gone.size > rememberGone)
      for (const oldest of this.#gone) {
        this.#gone.delete(oldest);
        break;
      }
    const reason: unknown = session.closed.reason;
    this.#options.log?.('debug', 'session closed', {
      session: id,
      reason: reason instanceof Error ? reason.message : String(reason),
    });
  }
}

/** The key of a session. Two owners' sessions of one ID are two sessions, and neither owner hears of the other's. */
function keyOf(id: string, owner: string | undefined): string {
  return JSON.stringify([owner, id]);
}
