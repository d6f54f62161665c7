/** Passes requests on to the engine, byte for byte: bodies and answers are streamed, nothing is kept. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { toDrydockError } from '../../../errors/index.ts';
import { UploadBody } from '../http/body.ts';
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
  // Clients of HTTP/1.0 name no host, and engines want one.
  if (request.headers.host === undefined) headers.push('host', 'docker');
  const sent = behind.request({ method: request.method, path: originForm(request), headers, signal });
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    sent.once('response', resolve);
    sent.once('error', (err) => reject(signal.aborted ? toDrydockError(err) : behind.unreachable(err)));
    // An engine that switches protocols unasked, or goes without a word.
    sent.once('close', () => reject(behind.unreachable(new Error('it gives no answer'))));
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

/** The target of a request without a host in front of it, for the engine is no proxy (RFC 9112, 3.2). */
export function originForm({ url = '/' }: IncomingMessage): string {
  return url.replace(/^https?:\/\/[^/?#]*/i, '');
}

/** The headers as they came, without those of a set. */
export function passedHeaders(request: IncomingMessage, own: ReadonlySet<string>): string[] {
  const headers: string[] = [];
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    const [name = '', value = ''] = [request.rawHeaders[i], request.rawHeaders[i + 1]];
    if (!own.has(name.toLowerCase())) headers.push(name, value);
  }
  return headers;
}
