/**
 * A client's connection as services use it: what the client serves, calls to it, and errors that say what was asked
 * for.
 */
import { canceled, DrydockError, fail } from '../errors/index.ts';
import {
  type CallOptions,
  ConnectionLost,
  errorCodeOf,
  type GrpcCall,
  type GrpcChannel,
  GrpcError,
  UNIMPLEMENTED,
} from '../grpc/index.ts';
import type { SessionInfo } from './headers.ts';

/** The answer of a client that does not serve a call. */
export const notServed = Symbol('not served');

/** The other end of a session's connection. All services call the client through it. */
export class Peer {
  readonly info: SessionInfo;
  readonly channel: GrpcChannel;
  /** The one who opened the session (`identityKey`); undefined when nobody knows. */
  readonly owner: string | undefined;

  constructor(info: SessionInfo, channel: GrpcChannel, owner?: string) {
    this.info = info;
    this.channel = channel;
    this.owner = owner;
  }

  /** Whether the client may serve a method, such as `/moby.filesync.v1.Auth/Credentials`. True when it has not said. */
  mayServe(method: string): boolean {
    return this.info.methods.size === 0 || this.info.methods.has(method.toLowerCase());
  }

  /**
   * Sends one message and returns the one that comes back, or `notServed` when the client has no such method. Throws
   * the GrpcError of a client that refuses; other failures are thrown as `explain` words them. `what` continues "asking
   * the client for …".
   */
  async unary(
    what: string,
    method: string,
    request: Uint8Array,
    options: CallOptions = {},
  ): Promise<Uint8Array | typeof notServed> {
    if (!this.mayServe(method)) return notServed;
    try {
      return await this.channel.unary(method, request, options);
    } catch (err) {
      if (err instanceof GrpcError && err.code === UNIMPLEMENTED) return notServed;
      if (err instanceof GrpcError) throw err;
      throw this.explain(what, err);
    }
  }

  /** Starts a streaming call. A client that does not serve it may say so only later, by the call's status. */
  async open(what: string, method: string, options: CallOptions = {}): Promise<GrpcCall | typeof notServed> {
    if (!this.mayServe(method)) return notServed;
    try {
      return await this.channel.open(method, options);
    } catch (err) {
      throw this.explain(what, err);
    }
  }

  /** The error of a failed call, in words for the user of the build. `what` continues "asking the client for …". */
  explain(what: string, err: unknown): DrydockError {
    if (err instanceof DrydockError) return err;
    if (err instanceof ConnectionLost) {
      const message = `asking the client for ${what}: its session ${this.info.id} is gone (${err.message})`;
      return fail('unavailable', 'session', message, { cause: err, hint: lostHint });
    }
    if (err instanceof GrpcError) {
      if (err.code === UNIMPLEMENTED) {
        return fail('unsupported', 'session', `asking the client for ${what}: it does not offer this`, {
          cause: err,
        });
      }
      const said = printable(err.message);
      return fail(errorCodeOf(err.code), 'session', `asking the client for ${what}: it answered: ${said}`, {
        cause: err,
        hint: 'This is what the client itself ran into: look at its files, rights and disk.',
      });
    }
    if (err instanceof Error && err.name === 'AbortError') return canceled(err);
    const why = err instanceof Error ? err.message : String(err);
    return fail('unavailable', 'session', `asking the client for ${what}: ${why}`, { cause: err });
  }
}

/** The hint about a session that is not there. */
export const lostHint =
  'The client must keep its session open until the build is over. If it died or lost its connection, run the build ' +
  'again; if it needs no session (it posts its files), leave the session parameter out.';

/** A stranger's text, made fit for a terminal: without control characters, and not too long. */
export function printable(text: string): string {
  const clean = text.replace(/[\u0000-\u0020\u007f-\u009f]+/g, ' ').trim();
  return clean.length > 1000 ? `${clean.slice(0, 1000)}…` : clean;
}
