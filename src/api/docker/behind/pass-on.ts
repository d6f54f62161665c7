/** Passes requests on to the engine, byte for byte: bodies and answers are streamed, nothing is kept. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { toDrydockError } from '../../../errors/index.ts';
import { UploadBody } from '../http/body.ts';
import { refuseUpgrade } from '../routes/upgrades.ts';
import type { Behind } from './behind.ts';

/** Headers that are about one connection (RFC 9110, 7.6.1), and the credential that is for us alone. */
const ownHeaders = new Set([
  'authorization',
  'connection',
  'expect',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** The headers that a body which was read has no use for, and the credential. */
const bodyHeaders = new Set(['authorization', 'content-length', 'expect', 'transfer-encoding']);

/**
 * Passes a request on and answers with the engine's answer, head and body as they come. `body` takes the place of the
 * request's own. Throws `unavailable` when the engine cannot be reached; an answer that breaks off is broken off here.
 */
export async function passOn(
  behind: Behind,
  request: IncomingMessage,
  response: ServerResponse,
  signal: AbortSignal,
  body?: Buffer,
): Promise<void> {
  await passBack(await ask(behind, request, signal, body), response);
}

/** Passes a request on, as `passOn` does, and returns the head of the engine's answer. */
export async function ask(
  behind: Behind,
  request: IncomingMessage,
  signal: AbortSignal,
  body?: Buffer,
): Promise<IncomingMessage> {
  const headers = passedHeaders(
    request,
    body === undefined ? ownHeaders : new Set([...ownHeaders, 'content-length']),
  );
  if (body !== undefined) headers.push('content-length', String(body.length));
  else if (request.headers['transfer-encoding'] !== undefined) headers.push('transfer-encoding', 'chunked');
  const sent = behind.request({ method: request.method, path: request.url, headers, signal });
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    sent.once('response', resolve);
    sent.once('error', (err) => reject(signal.aborted ? toDrydockError(err) : behind.unreachable(err)));
  });
  if (body !== undefined) sent.end(body);
  // The engine may answer before it has read everything, and then wants no more.
  else pipeline(new UploadBody(request), sent).catch(() => {});
  return answered;
}

/** Answers with the engine's answer. `body` is what was read of it, if it was read. */
export async function passBack(
  answer: IncomingMessage,
  response: ServerResponse,
  body?: Buffer,
): Promise<void> {
  response.writeHead(answer.statusCode ?? 502, answer.statusMessage, passedHeaders(answer, ownHeaders));
  if (body !== undefined) return void response.end(body);
  response.flushHeaders();
  await pipeline(answer, response).catch(() => void response.destroy());
}

function passedHeaders(request: IncomingMessage, own: ReadonlySet<string>): string[] {
  const headers: string[] = [];
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    const [name = '', value = ''] = [request.rawHeaders[i], request.rawHeaders[i + 1]];
    if (!own.has(name.toLowerCase())) headers.push(name, value);
  }
  return headers;
}

/**
 * Joins a client's connection with one to the engine, for a request that wants another protocol (attach, exec). The
 * request goes first, with its small `body`; then everything goes both ways as it comes, beginning with `head`, and each
 * side may end its half before the other.
 */
export function splice(
  behind: Behind,
  request: IncomingMessage,
  body: Buffer,
  socket: Duplex,
  head: Buffer,
): void {
  const engine = behind.connect();
  const lines = [`${request.method} ${request.url} HTTP/1.1`];
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    const [name = '', value = ''] = [request.rawHeaders[i], request.rawHeaders[i + 1]];
    if (!bodyHeaders.has(name.toLowerCase())) lines.push(`${name}: ${value}`);
  }
  lines.push(`Content-Length: ${body.length}`);
  const end = () => {
    socket.destroy();
    engine.destroy();
  };
  if ('allowHalfOpen' in socket) socket.allowHalfOpen = true;
  engine.once('connect', () => {
    engine.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
    engine.write(body);
    engine.write(head);
    socket.pipe(engine);
    engine.pipe(socket);
  });
  engine.once('error', (err) => {
    // Before the engine has answered, the client is told why.
    if (engine.bytesRead === 0 && socket.writable) refuseUpgrade(socket, behind.unreachable(err));
    else end();
  });
  socket.once('error', end);
  socket.once('close', () => engine.destroy());
  engine.once('close', () => socket.end());
}
