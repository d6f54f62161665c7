/** docker's stream of JSON objects, one a line (CRLF), as an answer that starts with its first object. */
import type { ServerResponse } from 'node:http';
import { type DrydockError, toDrydockError } from '../../../errors/index.ts';
import { apiMessage, httpStatus, streamError } from './errors.ts';

/** Where objects go that tell of work as it goes on. */
export type ObjectSink = Pick<JsonStream, 'drained' | 'isBlocked' | 'start' | 'write'>;

/** Characters that are sent together: thousands of small chunks cost the thread a hundred times what one does. */
const batch = 16 * 1024;

export class JsonStream {
  readonly #res: ServerResponse;
  /** Objects of this turn that are not sent yet. */
  #pending = '';
  #ended = false;

  constructor(res: ServerResponse) {
    this.#res = res;
  }

  /** Whether the status and a first object are out: errors from now on are objects too. */
  get started(): boolean {
    return this.#res.headersSent;
  }

  /** The client reads more slowly than we write: hold back what can wait until `drained`. */
  get isBlocked(): boolean {
    return this.#res.writableNeedDrain;
  }

  /** Resolves when more may be written, or when the client is gone. */
  drained(): Promise<void> {
    if (!this.isBlocked || this.#res.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        this.#res.off('drain', done);
        this.#res.off('close', done);
        resolve();
      };
      this.#res.on('drain', done);
      this.#res.on('close', done);
    });
  }

  /** Sends the status now, though there is no object yet: all that goes wrong from here on is an object. */
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
   * Ends the answer with an error: as its status and body if nothing is out yet, else as its last object, with the exit
   * code of the step that failed, which docker's CLI then ends with, unless `exits` is false.
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

/** An error as a whole answer, where no route's reply is at hand. */
export function sendError(res: ServerResponse, status: number, message: string): void {
  if (res.headersSent || res.destroyed) return;
  const body = `${JSON.stringify({ message })}\n`;
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  res.end(body);
}
