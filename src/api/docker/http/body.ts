/** Request bodies: streams that may be given up without cutting the client off. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { DrydockError } from '../../../errors/index.ts';
import { apiError } from './errors.ts';
import { parseBoundedJson } from './limits.ts';

/** How long a client that neither sends nor hangs up keeps the connection of a given-up upload, in ms. */
const drainIdle = 30_000;
const endedEarly = 'drydock:ended-early';

/** The responses to clients that wait to be told to send their body (`Expect: 100-continue`), by request. */
const wanting = new WeakMap<IncomingMessage, ServerResponse>();

/**
 * The body of a request. Unlike the request, it can be destroyed: the bytes that the client still sends are then read
 * and dropped, so that no broken pipe stops the client before it reads the answer.
 */
export class UploadBody extends Readable {
  readonly #request: IncomingMessage;
  #onData: ((chunk: Buffer) => void) | undefined;
  #bytes = 0;

  constructor(request: IncomingMessage) {
    super({ highWaterMark: 256 << 10 });
    this.#request = request;
    // It may break before anybody reads it; who reads it later hears of it all the same.
    this.on('error', () => {});
    // Now, as it cannot be said any more once the answer has begun.
    wanting.get(request)?.writeContinue();
    wanting.delete(request);
    request.on('error', this.#broken);
    request.on('aborted', this.#broken);
    request.on(endedEarly, this.#broken);
    request.on('close', this.#closed);
  }

  override _read(): void {
    if (this.#onData === undefined) {
      this.#onData = (chunk) => {
        this.#bytes += chunk.length;
        if (!this.push(chunk)) this.#request.pause();
      };
      this.#request.on('data', this.#onData);
      this.#request.once('end', () => this.push(null));
    }
    this.#request.resume();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const request = this.#request;
    if (this.#onData !== undefined) request.off('data', this.#onData);
    request.off('error', this.#broken);
    request.off('aborted', this.#broken);
    request.off(endedEarly, this.#broken);
    request.off('close', this.#closed);
    request.on('error', () => {});
    drain(request);
    done(error);
  }

  readonly #broken = () => this.destroy(this.#ended());

  readonly #closed = () => {
    if (!this.#request.complete) this.destroy(this.#ended());
  };

  #ended(): DrydockError {
    const declared = this.#request.headers['content-length'];
    const of = declared === undefined ? '' : ` of a declared ${declared}`;
    return new DrydockError(`the upload ended after ${this.#bytes} bytes${of}`, {
      code: 'unavailable',
      hop: 'context',
      hint: 'The client broke off, or a proxy between it and the daemon did.',
    });
  }
}

/**
 * Tells the reader of this request's body that the client has ended its half of the connection in the middle of it. The
 * client may still read the answer, and `close` does not come while the answer goes on. False: nobody reads the body.
 */
export function bodyEndedEarly(request: IncomingMessage): boolean {
  return request.emit(endedEarly);
}

/**
 * Tells a client that waits for it to send its body once the body is read. A client that is refused before that sends
 * nothing in vain.
 */
export function continueWhenRead(request: IncomingMessage, response: ServerResponse): void {
  wanting.set(request, response);
}

/** Reads and drops the rest of a request's body. A client that stalls is cut off in the end. */
export function drain(request: IncomingMessage): void {
  if (request.complete || request.destroyed || wanting.has(request)) return;
  const timer = setTimeout(() => request.destroy(), drainIdle);
  timer.unref();
  request.on('data', () => timer.refresh());
  request.once('close', () => clearTimeout(timer));
  request.once('end', () => clearTimeout(timer));
  request.resume();
}

/** Reads a small body. Throws `invalid` when it is larger than 1 MiB. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of new UploadBody(request) as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > 1 << 20) throw apiError('invalid', 'the request body is larger than 1 MiB');
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** Reads a small JSON body. Throws `invalid` when it is no JSON object, or larger than 1 MiB. */
export async function readJsonBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  return jsonObject(await readBody(request));
}

/** The JSON object that a body is. Throws `invalid`. */
export function jsonObject(body: Buffer): Record<string, unknown> {
  let value: unknown;
  try {
    value = parseBoundedJson(body.toString('utf8'), 'the request body');
  } catch (err) {
    if (err instanceof DrydockError) throw err;
    throw apiError('invalid', 'the request body is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw apiError('invalid', 'the request body is not a JSON object');
  }
  return value as Record<string, unknown>;
}
