/** docker's stream of JSON objects, one on each line (CRLF), as an answer that starts with its first object. */
import type { ServerResponse } from 'node:http';
import { type DrydockError, toDrydockError } from '../../../errors/index.ts';
import { drained } from '../../../flow/index.ts';
import { apiMessage, httpStatus, streamError } from './errors.ts';

/** Takes objects that tell of work while it goes on. */
export type ObjectSink = Pick<JsonStream, 'drained' | 'isBlocked' | 'start' | 'write'>;

/** How many characters are sent together: thousands of small chunks cost the thread a hundred times as much as one. */
const batch = 16 * 1024;

/**
 * An answer as a stream of objects. Nothing is sent before the first object (or `start`), so that an early error is
 * still a status; `end` or `fail` ends it.
 */
export class JsonStream {
  readonly #res: ServerResponse;
  /** The objects of this turn that are not sent yet. */
  #pending = '';
  #ended = false;

  constructor(res: ServerResponse) {
    this.#res = res;
  }

  /** Whether the status and a first object are out. Errors from then on are objects, too. */
  get started(): boolean {
    return this.#res.headersSent;
  }

  /**
   * Whether the client reads more slowly than objects come. Objects that can wait are then held back until `drained`.
   */
  get isBlocked(): boolean {
    return this.#res.writableNeedDrain;
  }

  /** Resolves when more may be written, or when the client is gone. */
  drained(): Promise<void> {
    if (!this.isBlocked || this.#res.destroyed) return Promise.resolve();
    return drained(this.#res);
  }

  /** Sends the status now, though there is no object yet. All failures from here on are objects. */
  start(): void {
    if (this.#ended || this.#res.destroyed || this.#res.headersSent) return;
    this.#res.writeHead(200, { 'content-type': 'application/json' });
    this.#res.flushHeaders();
  }

  write(value: object): void {
    if (this.#ended || this.#res.destroyed) return;
    if (!this.#res.headersSent) this.#res.writeHead(200, { 'content-type': 'application/json' });
    if (this.#pending === '') process.nextTick(() => this.#flush());
    this.#pending += `${JSON.stringify(value)}\r\n`;
    if (this.#pending.length >= batch) this.#flush();
  }

  #flush(): void {
    const text = this.#pending;
    this.#pending = '';
    if (text !== '' && !this.#res.destroyed) this.#res.write(text);
  }

  /** Ends the answer; an answer without objects is an empty one. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#res.destroyed) return;
    if (!this.#res.headersSent) this.#res.writeHead(200, { 'content-type': 'application/json' });
    this.#flush();
    this.#res.end();
  }

  /**
   * Ends the answer with an error: with its status and body if nothing is out yet, or else as the last object. That
   * object has the exit code of the failed step, with which docker's CLI then ends, unless `exits` is false.
   */
  fail(err: unknown, message: (error: DrydockError) => string = apiMessage, exits = true): void {
    if (this.#ended) return;
    const error = toDrydockError(err);
    const text = message(error);
    if (this.started) {
      this.write(streamError(text, exits ? error.exitCode : undefined));
      this.end();
      return;
    }
    this.#ended = true;
    sendError(this.#res, httpStatus(error), text);
  }
}

/** Sends an error as a whole answer, outside of any route. */
export function sendError(res: ServerResponse, status: number, message: string): void {
  if (res.headersSent || res.destroyed) return;
  const body = `${JSON.stringify({ message })}\n`;
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  res.end(body);
}
