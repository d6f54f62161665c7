/** HTTP/2 on a connection that is there already. */
import type { Http2Server } from 'node:http2';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';

/**
 * Has a server speak HTTP/2 on a connection. Node's server answers a TLS connection whose handshake agreed on HTTP/1.1,
 * or on nothing, with a 403; but this one has changed its protocol since, or its client is known to speak HTTP/2.
 */
export function takeConnection(server: Http2Server, connection: Duplex): void {
  if (connection instanceof TLSSocket) connection.alpnProtocol = 'h2';
  server.emit('connection', connection);
}
