/** Joins a client's connection with one to the engine, for attach and exec. */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { refuseUpgrade } from '../routes/upgrades.ts';
import type { Behind } from './behind.ts';
import { originForm, passedHeaders } from './pass-on.ts';

/** The headers that a body which was read has no use for, and the credential. */
const bodyHeaders = new Set(['authorization', 'content-length', 'expect', 'transfer-encoding']);
/** The longest head of an answer, in bytes. */
const longestHead = 256 << 10;
const endOfHead = '\r\n\r\n';

/**
 * Sends the engine a request that wants another protocol, with its small `body`. Once the engine has given its connection
 * away, everything goes both ways as it comes, beginning with `head`, and each side may end its half before the other. An
 * answer without that, such as an error, is passed back, and the client's connection ends with it: what the client would
 * send next is a request of its own, and not one to the engine.
 */
export function splice(
  behind: Behind,
  request: IncomingMessage,
  body: Buffer,
  socket: Duplex,
  head: Buffer,
): void {
  const engine = behind.connect();
  const headers = passedHeaders(request, bodyHeaders);
  const lines = [`${request.method} ${originForm(request)} HTTP/1.1`];
  for (let i = 0; i < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
  lines.push(`Content-Length: ${body.length}`);
  let hasAnswered = false;
  const broken = (err: Error) => {
    // Before the engine has answered, the client is told why.
    if (!hasAnswered && socket.writable) refuseUpgrade(socket, behind.unreachable(err));
    else socket.destroy();
    engine.destroy();
  };
  if ('allowHalfOpen' in socket) socket.allowHalfOpen = true;
  engine.once('connect', () => {
    engine.write(`${lines.join('\r\n')}${endOfHead}`, 'latin1');
    engine.write(body);
  });
  engine.once('error', broken);
  // Its half may end before it has said anything.
  engine.once('end', () => {
    if (!hasAnswered) broken(new Error('it gives no answer'));
  });
  engine.once('close', () => socket.end());
  socket.once('error', () => {
    socket.destroy();
    engine.destroy();
  });
  socket.once('close', () => engine.destroy());
  onHead(engine, (answer, rest) => {
    if (!/^HTTP\/1\.\d \d{3}/.test(answer)) return broken(new Error('its answer is not HTTP'));
    hasAnswered = true;
    if (isGivenAway(answer)) {
      socket.write(answer, 'latin1');
      engine.write(head);
      socket.pipe(engine);
    } else {
      socket.write(closing(answer), 'latin1');
      socket.resume();
      engine.end();
    }
    if (rest.length > 0) engine.unshift(rest);
    engine.pipe(socket);
  });
}

/** Calls back with the head of an answer and what came after it. A head that is too long ends the connection. */
function onHead(engine: Socket, heard: (head: string, rest: Buffer) => void): void {
  let got = Buffer.alloc(0);
  const listen = (chunk: Buffer) => {
    got = Buffer.concat([got, chunk]);
    const end = got.indexOf(endOfHead);
    if (end < 0) {
      if (got.length > longestHead) engine.destroy(new Error('its answer has no end of its head'));
      return;
    }
    engine.off('data', listen);
    engine.pause();
    const after = end + endOfHead.length;
    heard(got.toString('latin1', 0, after), got.subarray(after));
  };
  engine.on('data', listen);
}

/** Whether the connection speaks another protocol from here on. Engines of old say so by the kind of the answer. */
function isGivenAway(head: string): boolean {
  if (/^HTTP\/1\.\d 101 /.test(head)) return true;
  return (
    /^HTTP\/1\.\d 200 /.test(head) &&
    /\r\ncontent-type: *application\/vnd\.docker\.(?:raw|multiplexed)-stream/i.test(head)
  );
}

/** A head that says that the connection ends after the answer. */
function closing(head: string): string {
  const kept = head.slice(0, -endOfHead.length).replace(/\r\n(?:connection|keep-alive):[^\r\n]*/gi, '');
  return `${kept}\r\nConnection: close${endOfHead}`;
}
