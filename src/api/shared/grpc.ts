/** BuildKit's gRPC API as the daemon sees it: something that takes connections whose client speaks HTTP/2. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Ask, Authority } from '../../auth/index.ts';

/**
 * Who makes a call, and whether they may: asked once per call, before its work starts. Throws `unauthenticated`,
 * `denied` or `unavailable`. `headers` are the call's metadata (an `authorization` among them decides on a connection
 * of its own; on one that came by `POST /grpc` the request that opened it has decided already).
 */
export type AdmitCall = (headers: IncomingHttpHeaders, ask: Ask) => Promise<Authority>;

export interface GrpcAcceptor {
  /**
   * Serves a connection, from the first byte of the HTTP/2 preface on; takes it over, errors included. Bytes that were
   * read before are unshifted on the stream.
   */
  accept(socket: Duplex, admit: AdmitCall): void;
  /** Tells clients to go elsewhere (GOAWAY) and resolves once calls in flight are over, or all are cut off by `signal`. */
  close(signal: AbortSignal): Promise<void>;
}
