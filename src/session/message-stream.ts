/** A session whose bytes are carried in the messages of a call: `moby.buildkit.v1.Control/Session`. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse, ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { ServedBytesStream } from '../grpc/index.ts';
import { isNear } from './near.ts';
import type { ClientSession } from './types.ts';

/**
 * Makes a session of a call that carries its HTTP/2 bytes both ways. The call is answered when the session is over on
 * either side, or when `signal` fires. `owner` is the caller (`identityKey`). Throws before anything is answered:
 * `invalid` without an ID, `conflict` when the ID is in use.
 */
export function sessionOverCall(
  sessions: {
    accept(stream: Duplex, headers: IncomingHttpHeaders, owner?: string, near?: boolean): ClientSession;
  },
  request: Http2ServerRequest,
  response: Http2ServerResponse,
  { signal, owner }: { signal?: AbortSignal; owner?: string } = {},
): ClientSession {
  const stream = new ServedBytesStream(request.stream as ServerHttp2Stream, response);
  let session: ClientSession;
  try {
    session = sessions.accept(stream, request.headers, owner, isNear(request.stream.session?.socket));
  } catch (err) {
    stream.destroy();
    throw err;
  }
  stream.begin();
  const end = () => stream.destroy();
  session.closed.addEventListener('abort', end, { once: true });
  signal?.addEventListener('abort', end, { once: true });
  stream.once('close', () => signal?.removeEventListener('abort', end));
  if (signal?.aborted) end();
  return session;
}
