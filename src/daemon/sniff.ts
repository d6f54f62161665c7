/** Finds out a client's protocol from its first bytes. */
import type { Socket } from 'node:net';

type Protocol = 'http/1.1' | 'http/2';

/** The first line of an HTTP/2 client (RFC 9113, 3.4); no HTTP/1.1 method is `PRI`. */
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** How long a client may be connected without sending anything, in ms. */
const patience = 120_000;

/**
 * Calls back with the protocol once the first bytes are here. The bytes stay on the socket, to be read again. A client
 * that goes away or sends nothing is dropped without a call.
 */
export function sniff(socket: Socket, decided: (protocol: Protocol) => void): void {
  const early: Buffer[] = [];
  let size = 0;
  const drop = () => socket.destroy();
  const onData = (chunk: Buffer) => {
    early.push(chunk);
    size += chunk.length;
    const start = early.length === 1 ? chunk : Buffer.concat(early, size);
    const length = Math.min(start.length, preface.length);
    const same = start.subarray(0, length).equals(preface.subarray(0, length));
    if (same && start.length < preface.length) return;
    socket.pause();
    socket.off('data', onData);
    socket.off('end', drop);
    socket.off('error', drop);
    socket.off('timeout', drop);
    socket.setTimeout(0);
    socket.unshift(start);
    decided(same ? 'http/2' : 'http/1.1');
  };
  socket.on('data', onData);
  socket.on('end', drop);
  socket.on('error', drop);
  socket.setTimeout(patience, drop);
}
