/** The Docker engine behind the daemon (`--engine`): it has the containers, volumes and networks that Drydock has not. */
import { Agent, type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { type DrydockError, errnoCode, fail, toDrydockError } from '../../../errors/index.ts';
import { isBefore } from '../http/version.ts';
import { type EngineAddress, engineAddress } from './address.ts';

/** How long an engine may take to answer a short question, in ms. */
const patience = 30_000;
/** The same for its version, for which every request waits. */
const versionPatience = 3000;
/** The same for what is told beside Drydock's own, which is told without it then. */
export const besideMs = 5000;
/** The longest answer to a short question, in bytes. */
const longestAnswer = 256 << 20;
/**
 * How old an answer about the engine's API version may be before the engine is asked again, in ms: it may have been
 * replaced. A request that finds an older one goes on with it.
 */
const versionAge = 60_000;
/** The same for an engine that could not be reached. */
const awayAge = 1000;

/** What is known of the engine's newest API version. */
interface KnownVersion {
  /** When it was found out, by the clock of `performance`. */
  at: number;
  /** Undefined: it could not be reached. */
  value: string | undefined;
  /** Whether it took too long to answer; requests do not wait for it again. */
  isSlow: boolean;
}

/** The engine behind a daemon. `close` lets its connections go. */
export class Behind {
  /** Its address, as it was given. */
  readonly address: string;
  readonly #to: EngineAddress;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: Infinity });
  #version: KnownVersion | undefined;
  #asking: Promise<KnownVersion> | undefined;

  /** Throws `invalid` for an address that is none. Nothing is asked yet. */
  constructor(address: string) {
    this.address = address;
    this.#to = engineAddress(address);
  }

  /** Begins a request; the caller writes its body and ends it. */
  request(options: RequestOptions): ClientRequest {
    return request({ ...options, ...this.#to, agent: this.#agent });
  }

  /** A connection of its own. */
  connect(): Socket {
    const to = this.#to;
    // The client may end its side while the engine still sends, and the other way round.
    const options = { allowHalfOpen: true };
    return 'socketPath' in to
      ? connect({ path: to.socketPath, ...options })
      : connect({ host: to.host, port: to.port, ...options });
  }

  /** Sends a request, whole, and waits for the head of the answer. Throws `unavailable` when the engine cannot be reached. */
  send(
    method: string,
    path: string,
    {
      headers = {},
      body,
      signal,
    }: { headers?: Record<string, string>; body?: Buffer; signal?: AbortSignal } = {},
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { 'content-length': String(body.length) };
      const sent = this.request({ method, path, headers: { host: 'docker', ...headers, ...length }, signal });
      sent.once('response', resolve);
      sent.once('error', (err) => reject(this.unreachable(err)));
      sent.once('close', () => reject(this.unreachable(new Error('it gives no answer'))));
      sent.end(body);
    });
  }

  /**
   * The JSON of a path; undefined when the engine has no such thing. Throws `unavailable` for any other answer, and when
   * none comes within `ms`.
   */
  async json<T>(path: string, signal?: AbortSignal, ms = patience): Promise<T | undefined> {
    const within = AbortSignal.any([AbortSignal.timeout(ms), ...(signal === undefined ? [] : [signal])]);
    const answer = await this.send('GET', path, { signal: within });
    if (answer.statusCode === 404) return void answer.resume();
    if (answer.statusCode !== 200) throw await this.refused(answer, path);
    const parts: Buffer[] = [];
    let length = 0;
    try {
      for await (const part of answer as AsyncIterable<Buffer>) {
        length += part.length;
        if (length > longestAnswer) throw new Error(`its answer has more than ${longestAnswer} bytes`);
        parts.push(part);
      }
      return JSON.parse(Buffer.concat(parts).toString('utf8')) as T;
    } catch (err) {
      if (signal?.aborted) throw toDrydockError(err);
      const why = err instanceof Error ? err.message : String(err);
      throw fail(
        'unavailable',
        'host',
        `the Docker engine at ${this.address} has no answer to ${path}: ${why}`,
      );
    }
  }

  /** The error for an answer that was not to be expected; its body is read. */
  async refused(answer: IncomingMessage, path: string): Promise<DrydockError> {
    const body = await text(answer);
    return fail(
      'unavailable',
      'host',
      `the Docker engine at ${this.address} answers ${answer.statusCode} to ${path}: ${body.slice(0, 500)}`,
    );
  }

  /** The newest API version of the engine; undefined while it cannot be reached. */
  async version(): Promise<string | undefined> {
    const known = this.#version;
    if (known !== undefined) {
      const age = performance.now() - known.at;
      if (age <= (known.value === undefined ? awayAge : versionAge)) return known.value;
      if (known.value !== undefined || known.isSlow) {
        void this.#askVersion();
        return known.value;
      }
    }
    return (await this.#askVersion()).value;
  }

  /** A path under an API version, or under the engine's newest, if that is older. */
  async pathAt(version: string, path: string): Promise<string> {
    const newest = (await this.version()) ?? version;
    return `/v${isBefore(newest, version) ? newest : version}${path}`;
  }

  #askVersion(): Promise<KnownVersion> {
    this.#asking ??= this.#askedVersion().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #askedVersion(): Promise<KnownVersion> {
    const began = performance.now();
    const answer = await this.json<{ ApiVersion?: unknown }>('/version', undefined, versionPatience).catch(
      () => undefined,
    );
    const given = answer?.ApiVersion;
    const at = performance.now();
    this.#version = {
      at,
      value: typeof given === 'string' && /^1\.\d{1,3}$/.test(given) ? given : undefined,
      isSlow: at - began >= versionPatience,
    };
    return this.#version;
  }

  /** The error for an engine that does not answer. */
  unreachable(cause: unknown) {
    const code = errnoCode(cause) ?? (cause instanceof Error ? cause.message : undefined);
    return fail(
      'unavailable',
      'host',
      `the Docker engine at ${this.address} cannot be reached${code === undefined ? '' : ` (${code})`}`,
      {
        hint: "The daemon's setting `engine` names it. Is it running, and may this user use its socket?",
        cause,
      },
    );
  }

  close(): void {
    this.#agent.destroy();
  }
}
