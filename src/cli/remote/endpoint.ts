/** The daemon that `--host` or DRYDOCK_HOST names, and requests to it. */
import { existsSync, readFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect, isIP } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { type Address, isLoopback, parseAddress } from '../../daemon/index.ts';
import { DrydockError, type ErrorCode, errnoCode, fail } from '../../errors/index.ts';
import { isKubeAddress } from '../../kube/index.ts';
import { parseTraceparent } from '../../telemetry/index.ts';

/** A daemon that commands are sent to. */
export interface Endpoint {
  /** The address as it was given. */
  readonly name: string;
  /** The options for Node's HTTP client. */
  readonly options: RequestOptions;
  readonly tls: boolean;
  /** The credential of each request, as headers. */
  readonly headers: Record<string, string>;
  /**
   * Opens a connection for a client that will speak this protocol on it. It emits `connect`, or `secureConnect` with TLS, or
   * an error.
   */
  dial(protocol: 'http/1.1' | 'h2'): Duplex;
}

/** Files of certificates, and the name that the daemon's own is to have; the address's by default. */
interface TlsFiles {
  ca?: string | undefined;
  cert?: string | undefined;
  key?: string | undefined;
  servername?: string | undefined;
}

/** The daemon of an address, which may be in a pod. Throws `invalid`, and for pods what an API server may answer. */
export async function findEndpoint(
  host: string,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
  files?: TlsFiles,
): Promise<Endpoint> {
  if (!isKubeAddress(host)) return endpointOf(host, env, files);
  if (files !== undefined)
    throw fail('invalid', 'client', 'a daemon in a pod is reached by exec, without certificates');
  return (await import('./kube.ts')).kubeEndpoint(host, env, signal);
}

/**
 * Reads an address. A `tcp://` daemon is spoken to with TLS unless it is on this machine; with DRYDOCK_CERT_PATH,
 * always. That names a folder that may hold `ca.pem`, `cert.pem` and `key.pem`. DRYDOCK_TOKEN is sent as bearer token.
 * `files` are certificates that are named one by one, instead of that folder. Throws `invalid`.
 */
function endpointOf(host: string, env: NodeJS.ProcessEnv, files?: TlsFiles): Endpoint {
  const address: Address = parseAddress(host);
  if (address.kind === 'fd') throw fail('invalid', 'client', `${host} is no address to connect to`);
  const headers: Record<string, string> = traceHeaders(env);
  if (env.DRYDOCK_TOKEN) headers.authorization = `Bearer ${env.DRYDOCK_TOKEN}`;
  if (address.kind === 'unix') {
    const { path } = address;
    return { name: host, options: { socketPath: path }, tls: false, headers, dial: () => connect(path) };
  }
  const { host: name = 'localhost', port } = address;
  const folder = files === undefined ? env.DRYDOCK_CERT_PATH : undefined;
  if (!folder && files === undefined && isLoopback(name)) {
    return {
      name: host,
      options: { host: name, port },
      tls: false,
      headers,
      dial: () => connect(port, name),
    };
  }
  const pem = (file: string, named: string | undefined) => {
    if (named !== undefined) return read(named);
    const path = folder ? join(folder, file) : '';
    return path !== '' && existsSync(path) ? readFileSync(path) : undefined;
  };
  // An address has no name to ask for; its certificate is checked all the same.
  const servername = files?.servername ?? (isIP(name) === 0 ? name : '');
  const certs = {
    ca: pem('ca.pem', files?.ca),
    cert: pem('cert.pem', files?.cert),
    key: pem('key.pem', files?.key),
  };
  return {
    name: host,
    // Or it would be taken from the Host header.
    options: { host: name, port, servername, ...certs } as RequestOptions,
    tls: true,
    headers,
    dial: (protocol) =>
      connectTls({
        host: name,
        port,
        servername,
        ...certs,
        ALPNProtocols: [protocol],
      }),
  };
}

/** The place in a trace that a build at a daemon is to have: TRACEPARENT, as CI systems hand it on. */
export function traceHeaders(env: NodeJS.ProcessEnv): Record<string, string> {
  const traceparent = env.TRACEPARENT ?? '';
  return parseTraceparent(traceparent) === undefined ? {} : { traceparent };
}

function read(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw fail('invalid', 'client', `cannot read ${file} (${errnoCode(cause) ?? cause})`, { cause });
  }
}

interface RemoteRequest {
  method: string;
  path: string;
  query?: Record<string, string | readonly string[] | undefined>;
  headers?: Record<string, string>;
  /** The body, which is sent in chunks. */
  body?: NodeJS.ReadableStream;
  signal: AbortSignal;
}

/**
 * Sends a request and returns the stream of the answer. Throws the daemon's error, with the code for its status, or
 * `unavailable` when the daemon cannot be reached.
 */
export async function ask(endpoint: Endpoint, request: RemoteRequest): Promise<IncomingMessage> {
  const { method, path, query = {}, headers, body, signal } = request;
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of [value ?? []].flat()) params.append(name, each);
  }
  const text = params.toString();
  const send = endpoint.tls ? httpsRequest : httpRequest;
  const sent = send({
    ...endpoint.options,
    method,
    path: text === '' ? path : `${path}?${text}`,
    // Over plain TCP daemons answer under names of their own machine alone, since a web page may ask under another.
    headers: { host: 'localhost', ...endpoint.headers, ...headers },
    // Node takes `createConnection` only where there is no agent at all.
    agent: endpoint.options.createConnection === undefined ? false : undefined,
    signal,
  });
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    sent.once('response', resolve);
    sent.once('error', (err) => reject(signal.aborted ? signal.reason : unreachable(endpoint, err)));
  });
  if (body === undefined) sent.end();
  else body.on('error', (err) => sent.destroy(err as Error)).pipe(sent);
  const response = await answered;
  if ((response.statusCode ?? 0) < 400) return response;
  throw refusal(response.statusCode ?? 0, await textOf(response));
}

/** Sends a request whose answer is JSON, and returns the whole of it. */
export async function askJson<T>(endpoint: Endpoint, request: RemoteRequest): Promise<T> {
  const text = await textOf(await ask(endpoint, request));
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

/**
 * Sends a request whose answer is JSON objects, one on each line, and yields them as they come. Throws the error in the
 * last object.
 */
export async function* askLines<T>(endpoint: Endpoint, request: RemoteRequest): AsyncGenerator<T, void> {
  const response = await ask(endpoint, request);
  let rest = '';
  for await (const chunk of response.setEncoding('utf8')) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line.trim() === '') continue;
      const { errorDetail, ...value } = JSON.parse(line) as { errorDetail?: { message?: string } };
      if (errorDetail !== undefined) {
        throw fail('failed', 'client', errorDetail.message ?? 'the daemon failed');
      }
      yield value as Awaited<T>;
    }
  }
}

/** The error for a daemon that cannot be reached. */
export function unreachable(endpoint: Endpoint, cause: Error): DrydockError {
  if (cause instanceof DrydockError) return cause;
  const code = errnoCode(cause);
  const hint =
    code === 'EACCES'
      ? 'You may not open that socket: ask to be put into its group, or use sudo.'
      : code === 'ENOENT' || code === 'ECONNREFUSED'
        ? 'No daemon listens there: start one with `drydock daemon`, or leave out --host (DRYDOCK_HOST) to build without.'
        : undefined;
  return fail(
    'unavailable',
    'client',
    `cannot reach the daemon at ${endpoint.name} (${code ?? cause.message})`,
    {
      cause,
      hint,
    },
  );
}

const codes: Record<number, ErrorCode> = {
  400: 'invalid',
  401: 'unauthenticated',
  403: 'denied',
  404: 'not-found',
  409: 'conflict',
  501: 'unsupported',
  503: 'unavailable',
  507: 'exhausted',
};

function refusal(status: number, text: string): DrydockError {
  let message = text.trim();
  try {
    message = String((JSON.parse(text) as { message?: unknown }).message ?? message);
  } catch {
    // Not docker's form: shown as it is.
  }
  return fail(codes[status] ?? 'failed', 'client', message || `the daemon answered ${status}`);
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return text;
}
