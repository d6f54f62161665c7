/** BuildKit's gRPC API as the daemon sees it: it takes connections whose client speaks HTTP/2. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Ask, Authority } from '../../auth/index.ts';
import type { Observed } from './observed.ts';
import type { BuildsByResult, RecordFollowed } from './recording.ts';

/**
 * Finds out who makes a call and whether they may. It is asked once for each call, before the call's work starts.
 * Throws `unauthenticated`, `denied` or `unavailable`. `headers` are the call's metadata. An `authorization` among them
 * decides on a connection of its own; on a connection that came by `POST /grpc`, the request that opened it has decided
 * already.
 */
export type AdmitCall = (headers: IncomingHttpHeaders, ask: Ask) => Promise<Authority>;

/** The server of BuildKit's API in a daemon. */
export interface GrpcAcceptor {
  /**
   * Serves a connection from the first byte of the HTTP/2 preface on, and takes it over with its errors. Bytes that
   * were read before must be unshifted on the stream.
   */
  accept(socket: Duplex, admit: AdmitCall): void;
  /** Begins the log and the record of a build that did not come by this API. */
  readonly record?: RecordFollowed;
  /** The builds in the history by what they made. */
  readonly buildsByResult?: BuildsByResult;
  /** The running builds and the history. */
  readonly observed?: Observed;
  /** Sends clients away (GOAWAY). Resolves once the calls under way are over, or once `signal` has cut them off. */
  close(signal: AbortSignal): Promise<void>;
}
