/** Requests to an object store: signed, tried again with back-off, and their failures understood. */
import { DrydockError, errnoCode, throwIfAborted } from '../errors/index.ts';
import { pause } from '../flow/index.ts';
import { HttpPool, type HttpResponse } from '../registry/index.ts';
import { userAgent } from './agent.ts';
import { Pace } from './pace.ts';
import { readSome } from './read-some.ts';
import { isPassing, type Refusal, refused, unreachable } from './trouble.ts';

/** A request before it is signed. */
export interface RestRequest {
  method: string;
  url: URL;
  headers: Record<string, string>;
  /** The body, when it is small and known. */
  bytes?: Uint8Array;
}

/** Proves who asks. */
export interface Signer {
  /** Gives the headers to send, and the URL; `now` in ms since the epoch, by the store's clock as far as it is known. */
  sign(request: RestRequest, now: number): Promise<{ url: URL; headers: Record<string, string> }>;
  /** Gets other credentials in the place of those that have ended. False when there are none. */
  renew?(): Promise<boolean>;
}

export interface RestOptions {
  /** What messages call the store. */
  name: string;
  signer: Signer;
  /** Understands an answer that is a failure. `skewMs`: how far the clock here is off the store's. */
  understand(status: number, headers: HttpResponse['headers'], body: string, skewMs: number): Refusal;
  /** The number of tries in all; default 5. */
  tries?: number;
  /** The first pause between tries in ms, doubled each time; default 250. */
  backoffMs?: number;
  /** Give up on a silent connection after this many ms; default 30 000. */
  idleMs?: number;
  /** Goes on asking a store that asks for fewer requests for this long (ms), and waits within it as long as it says. */
  patienceMs?: number;
  /** Slows down all requests while the store asks for fewer (`retry_mode=adaptive`). */
  adaptive?: boolean;
}

export interface RestCall extends Omit<RestRequest, 'headers' | 'bytes'> {
  /** The attempt in words: `reading blobs/x`. */
  doing: string;
  headers?: Record<string, string>;
  /** Bytes, or what opens them anew for each try; such a body needs a `content-length` header. */
  body?: Uint8Array | (() => Promise<import('node:stream').Readable>);
  /** The statuses that are answers and not failures. */
  ok: readonly number[];
  signal?: AbortSignal;
  /** The caller itself tries again. */
  once?: boolean;
}

/** A longer wait than this (ms), which a store asks for by Retry-After, is an error at once. */
const longestPause = 60_000;
/** The longest pause of our own, ms. */
const longestBackoff = 20_000;

export class RestClient {
  readonly name: string;
  readonly tries: number;
  readonly #options: RestOptions;
  readonly #pool = new HttpPool();
  readonly #pace: Pace | undefined;
  /** How far the store's clock is ahead of ours, ms; known once it mattered. */
  #offset = 0;
  #hasAnswered = false;

  constructor(options: RestOptions) {
    this.#options = options;
    this.name = options.name;
    this.tries = options.tries ?? 5;
    this.#pace = options.adaptive ? new Pace() : undefined;
  }

  close(): void {
    this.#pool.close();
  }

  /** Makes the call and returns an answer whose status is one of `ok`. Its body must be read or resumed. */
  async call(call: RestCall): Promise<HttpResponse> {
    const { patienceMs } = this.#options;
    const deadline = patienceMs === undefined ? undefined : Date.now() + patienceMs;
    let hasSetClock = false;
    let hasRenewed = false;
    for (let attempt = 1; ; attempt++) {
      throwIfAborted(call.signal);
      await this.#pace?.turn(call.signal);
      let failure: DrydockError;
      let wait = 0;
      let until: number | undefined;
      try {
        const response = await this.#send(call);
        const status = response.statusCode ?? 0;
        this.#hasAnswered = true;
        if (call.ok.includes(status)) {
          this.#pace?.wentWell();
          return response;
        }
        const body = (await readSome(response, 64 << 10).catch(() => Buffer.alloc(0))).toString('utf8');
        const theirs = Date.parse(response.headers.date ?? '');
        const ahead = Number.isNaN(theirs) ? 0 : theirs - Date.now();
        const refusal = this.#options.understand(status, response.headers, body, Math.abs(ahead));
        failure = refused(`${call.doing} of ${this.name}`, status, refusal);
        if (refusal.trouble === 'clock-skew' && !hasSetClock && ahead !== 0) {
          hasSetClock = true;
          this.#offset = ahead;
          continue;
        }
        if (refusal.trouble === 'expired-token' && !hasRenewed) {
          hasRenewed = true;
          if (await this.#options.signer.renew?.()) continue;
        }
        if (refusal.trouble === 'throttled') this.#pace?.slowDown();
        if (!isPassing(refusal.trouble)) throw failure;
        wait = retryAfter(response.headers['retry-after']);
        if (refusal.trouble === 'throttled') until = deadline;
      } catch (err) {
        throwIfAborted(call.signal);
        if (err instanceof DrydockError) throw err;
        failure = unreachable(`${call.doing} of ${this.name}`, call.url.host, err);
        if (!this.#worthRetry(err)) throw failure;
      }
      if (until !== undefined ? Date.now() + wait > until : attempt >= this.tries || wait > longestPause) {
        throw failure;
      }
      if (call.once) throw failure;
      await this.pause(attempt, call.signal, wait);
    }
  }

  /** Waits after a failed try: twice as long each time, with jitter, so that not all clients return at once. */
  async pause(attempt: number, signal: AbortSignal | undefined, atLeast = 0): Promise<void> {
    const ms = (this.#options.backoffMs ?? 250) * 2 ** (attempt - 1) * (0.75 + Math.random() / 2);
    await pause(Math.max(Math.min(ms, longestBackoff), atLeast), signal);
  }

  async #send({ method, url, headers = {}, body, signal }: RestCall): Promise<HttpResponse> {
    const bytes = body instanceof Uint8Array ? body : undefined;
    const signed = await this.#options.signer.sign(
      { method, url, headers, bytes },
      Date.now() + this.#offset,
    );
    return this.#pool.send({
      method,
      url: signed.url,
      headers: { 'user-agent': userAgent, 'accept-encoding': 'identity', ...signed.headers },
      ...(body === undefined ? {} : { body: body instanceof Uint8Array ? () => body : body }),
      signal,
      insecure: false,
      idleMs: this.#options.idleMs ?? 30_000,
      // A signature is good for one URL only.
      stay: true,
    });
  }

  #worthRetry(err: unknown): boolean {
    const first = err instanceof AggregateError ? err.errors[0] : err;
    const code = errnoCode(first) ?? '';
    if (/^(EPROTO|ERR_SSL_|ERR_TLS_|CERT_|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED)/.test(code)) return false;
    if (code === 'ENOTFOUND' || code === 'ECONNREFUSED') return this.#hasAnswered;
    return true;
  }
}

/** Retry-After as ms: a number of seconds, or a date (RFC 9110, 10.2.3). */
function retryAfter(text: string | undefined): number {
  if (text === undefined) return 0;
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isNaN(ms) ? 0 : Math.max(0, ms);
}
