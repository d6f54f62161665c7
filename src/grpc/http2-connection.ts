/** Starts HTTP/2 on an existing connection. */
import type { Http2Server } from 'node:http2';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';

/**
 * Makes a server speak HTTP/2 on a connection. Node's server answers 403 on a TLS connection whose handshake agreed on
 * HTTP/1.1 or on nothing; but this connection has changed its protocol since, or its client is known to speak HTTP/2.
 */
export function takeConnection(server: Http2Server, connection: Duplex): void {
  if (connection instanceof TLSSocket) connection.alpnProtocol = 'h2';
  server.emit('connection', connection);
}
