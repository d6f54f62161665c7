/** Sends spans to their receiver in the background. Loaded when there is one. */
import { readFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@connectrpc/connect';
import type { TraceService } from '../pb/otlp/trace_service_pb.js';
import { version } from '../version.ts';
import { resourceSpans, type Sender, type Span, traceJson, traceRequest } from './encode.ts';
import type { TraceSettings } from './settings.ts';

type TraceClient = Client<typeof TraceService>;

/** The most that waits here; what comes beyond it is dropped. */
const maxSpans = 8192;
const maxForeign = 8 << 20;
/** The most spans of one request. */
const batchSize = 512;
/** How long spans wait for others, in ms. */
const pause = 500;
/** How long the end of a command or a daemon waits for the last of them, in ms. */
const lastWait = 2_000;
/** How often trouble is told, in ms. */
const silence = 60_000;

/**
 * Takes spans at once and sends them when it can, some together. Nothing here throws or is waited for by a build: what
 * cannot be sent (a second time, where the receiver asks for that) is dropped, and `say` tells why, once a minute.
 */
export class TraceExporter {
  readonly #settings: TraceSettings;
  readonly #sender: Sender;
  readonly #say: (text: string) => void;
  readonly #end = new AbortController();
  #spans: Span[] = [];
  #foreign: Uint8Array[] = [];
  #foreignSize = 0;
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;
  #told = -Infinity;
  #client: Promise<TraceClient> | undefined;

  constructor(settings: TraceSettings, say: (text: string) => void) {
    this.#settings = settings;
    this.#say = say;
    this.#sender = { resource: settings.resource, scope: { name: 'drydock', version } };
  }

  /** Takes spans of our own. */
  add(spans: readonly Span[]): void {
    if (this.#spans.length + spans.length > maxSpans) {
      this.#tell('there are too many to be sent in time');
      return;
    }
    this.#spans.push(...spans);
    this.#soon();
  }

  /** Takes ResourceSpans of a client, as they are. */
  passOn(all: readonly Uint8Array[]): void {
    const size = all.reduce((sum, { length }) => sum + length, 0);
    if (this.#foreignSize + size > maxForeign) {
      this.#tell('clients send more than can be passed on');
      return;
    }
    this.#foreign.push(...all);
    this.#foreignSize += size;
    this.#soon();
  }

  /** Sends what is left, for 2 s at most, and ends. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    const rest = (async () => {
      await this.#sending;
      await this.#flush();
    })();
    await Promise.race([rest, sleep(lastWait, undefined, { ref: false })]);
    this.#end.abort();
  }

  #soon(): void {
    if (this.#timer !== undefined || this.#sending !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#sending = this.#flush().finally(() => {
        this.#sending = undefined;
        if (this.#spans.length > 0 || this.#foreign.length > 0) this.#soon();
      });
    }, pause);
    this.#timer.unref();
  }

  async #flush(): Promise<void> {
    while ((this.#spans.length > 0 || this.#foreign.length > 0) && !this.#end.signal.aborted) {
      const foreign = this.#foreign.splice(0);
      this.#foreignSize = 0;
      await this.#deliver(this.#spans.splice(0, batchSize), foreign);
    }
  }

  async #deliver(own: readonly Span[], foreign: readonly Uint8Array[]): Promise<void> {
    const { protocol } = this.#settings;
    try {
      if (protocol === 'http/json') {
        if (own.length > 0) await this.#post('application/json', Buffer.from(traceJson(this.#sender, own)));
        if (foreign.length > 0) await this.#post('application/x-protobuf', traceRequest(foreign));
        return;
      }
      const all = own.length > 0 ? [resourceSpans(this.#sender, own), ...foreign] : foreign;
      if (protocol === 'grpc') await this.#call(all);
      else await this.#post('application/x-protobuf', traceRequest(all));
    } catch (err) {
      if (!this.#end.signal.aborted) this.#tell((err as Error).message);
    }
  }

  /** Sends a request, and once more when the receiver has no time now. */
  async #post(type: string, body: Uint8Array): Promise<void> {
    for (let i = 0; ; i++) {
      const response = await this.#ask(type, body);
      response.resume();
      const { statusCode = 0, headers } = response;
      if (statusCode >= 200 && statusCode < 300) return;
      if (![429, 502, 503, 504].includes(statusCode) || i > 0) throw new Error(`it answered ${statusCode}`);
      const seconds = Number(headers['retry-after']);
      await sleep(Math.min(Number.isFinite(seconds) ? seconds * 1000 : 1000, 5000), undefined, {
        ref: false,
        signal: this.#end.signal,
      });
    }
  }

  #ask(type: string, body: Uint8Array): Promise<IncomingMessage> {
    const { url, headers, timeout } = this.#settings;
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const sent = send(url, {
        method: 'POST',
        headers: {
          'user-agent': `drydock/${version}`,
          ...headers,
          'content-type': type,
          'content-length': body.length,
        },
        agent: false,
        signal: AbortSignal.any([this.#end.signal, AbortSignal.timeout(timeout)]),
        ...this.#certificates(),
      });
      sent.once('response', resolve);
      sent.once('error', reject);
      // It does not keep a process that has nothing else to do.
      sent.once('socket', (socket) => socket.unref());
      sent.end(body);
    });
  }

  /** Calls the receiver, and once more when it has no time now. All calls take one connection. */
  async #call(all: readonly Uint8Array[]): Promise<void> {
    const { headers, timeout } = this.#settings;
    this.#client ??= this.#connect();
    const [{ Code, ConnectError }, client] = await Promise.all([import('@connectrpc/connect'), this.#client]);
    const request = { resourceSpans: [...all] as Uint8Array<ArrayBuffer>[] };
    const call = { headers, timeoutMs: timeout, signal: this.#end.signal };
    try {
      await client.export(request, call);
    } catch (err) {
      const { code } = ConnectError.from(err);
      if (code !== Code.Unavailable && code !== Code.ResourceExhausted) throw err;
      await sleep(1000, undefined, { ref: false, signal: this.#end.signal });
      await client.export(request, call);
    }
  }

  async #connect(): Promise<TraceClient> {
    const [{ createClient }, { createGrpcTransport, Http2SessionManager }, traces] = await Promise.all([
      import('@connectrpc/connect'),
      import('@connectrpc/connect-node'),
      import('../pb/otlp/trace_service_pb.js'),
    ]);
    const { origin } = this.#settings.url;
    const sessionManager = new Http2SessionManager(origin, undefined, this.#certificates());
    this.#end.signal.addEventListener('abort', () => sessionManager.abort(), { once: true });
    return createClient(traces.TraceService, createGrpcTransport({ baseUrl: origin, sessionManager }));
  }

  #certificates(): { ca?: Buffer; cert?: Buffer; key?: Buffer } {
    const { ca, cert, key } = this.#settings;
    return {
      ...(ca && { ca: readFileSync(ca) }),
      ...(cert && { cert: readFileSync(cert) }),
      ...(key && { key: readFileSync(key) }),
    };
  }

  #tell(why: string): void {
    if (performance.now() - this.#told < silence) return;
    this.#told = performance.now();
    this.#say(`spans were not sent to ${this.#settings.url.host}: ${why}`);
  }
}
