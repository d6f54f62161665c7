/** Request bodies: read as a stream that may be given up without cutting the client off. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { DrydockError } from '../../../errors/index.ts';
import { apiError } from './errors.ts';
import { parseBoundedJson } from './limits.ts';

/** A client that neither sends nor hangs up keeps a given-up upload's connection for so many ms. */
const drainIdle = 30_000;
const endedEarly = 'drydock:ended-early';

/** Clients that wait to be told to send their body (`Expect: 100-continue`), by their request. */
const wanting = new WeakMap<IncomingMessage, ServerResponse>();

/**
 * A request's body. Unlike the request, it can be destroyed: what the client still sends is then read and dropped,
 * so that the client is not stopped by a broken pipe before it reads our answer.
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
 * A client has ended its half of the connection in the middle of this request's body, and may still read our answer:
 * whoever reads the body is told, as `close` does not come while the answer goes on. False: nobody reads it.
 */
export function bodyEndedEarly(request: IncomingMessage): boolean {
  return request.emit(endedEarly);
}

/** Tells such a client to send once its body is wanted; one that is refused before sends nothing in vain. */
export function continueWhenRead(request: IncomingMessage, response: ServerResponse): void {
  wanting.set(request, response);
}

/** Reads and drops what is left of a request's body; a client that stalls is cut off in the end. */
export function drain(request: IncomingMessage): void {
  if (request.complete || request.destroyed || wanting.has(request)) return;
  const timer = setTimeout(() => request.destroy(), drainIdle);
  timer.unref();
  request.on('data', () => timer.refresh());
  request.once('close', () => clearTimeout(timer));
  request.once('end', () => clearTimeout(timer));
  request.resume();
}

/** A small JSON body. Throws `invalid` for what is no JSON object or is larger than 1 MiB. */
export async function readJsonBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of new UploadBody(request) as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > 1 << 20) throw apiError('invalid', 'the request body is larger than 1 MiB');
    parts.push(part);
  }
  let value: unknown;
  try {
    value = parseBoundedJson(Buffer.concat(parts).toString('utf8'), 'the request body');
  } catch (err) {
    if (err instanceof DrydockError) throw err;
    throw apiError('invalid', 'the request body is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw apiError('invalid', 'the request body is not a JSON object');
  }
  return value as Record<string, unknown>;
}
