/** Answers a request that gives its connection away (101), and hands the connection over. */
import type { Duplex } from 'node:stream';

const answer = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n';

/**
 * Answers, and calls `taken` when the answer has left: Node's HTTP/2 takes over a socket's handle, and ends the process
 * when a write ends there that it did not begin (over TLS writes end later). Calls `lost` instead when the connection
 * is gone before. One of the two is called, at once if possible.
 */
export function answerUpgrade(socket: Duplex, taken: () => void, lost: () => void = () => {}): void {
  let over = false;
  const done = () => {
    if (over) return;
    over = true;
    if (socket.destroyed) lost();
    else taken();
  };
  socket.write(answer, done);
  if (socket.writableLength === 0) done();
}
