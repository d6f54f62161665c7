/** One GET that survives broken connections, streams to a file, and hashes on the way. */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { pipeline, Readable, type Transform } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib';
import { canceled, DrydockError, type ErrorCode, fail } from '../errors/index.ts';
import { pause } from '../flow/index.ts';
import type { Digest } from '../oci/index.ts';
import { HttpPool, type HttpResponse } from '../registry/index.ts';
import { buildkitApi, version } from '../version.ts';
import { withoutCredentials } from './git-url.ts';

export interface Fetched {
  digest: Digest;
  size: number;
  etag?: string;
  /** Last-Modified as the server sent it. */
  lastModified?: string;
  /** The name in Content-Disposition. */
  filename?: string;
}

interface FetchOptions {
  headers: Record<string, string>;
  signal: AbortSignal;
  report(current: number, total: number): void;
}

/** The connections. This pool uses proxies and takes any port; `fetch` refuses some ports. */
const pool = new HttpPool();
const tries = 4;
/** How long a connection may be without a byte before it is given up, in ms. */
const idle = 60_000;
/** The same, for a question that another request may answer as well. */
const shortIdle = 10_000;
/** The user agent. Some servers answer by it, so it names BuildKit's API, too, in BuildKit's own form. */
const userAgent = `buildkit/${buildkitApi.replace(/\.\d+$/, '')} drydock/${version}`;

/**
 * Downloads a URL to a file. Undefined when the server answers 304, to headers that ask for changes only. Failures of
 * the network, and the answers 408, 429 and 5xx, are tried again. Errors have the URL, the status and a hint, and never
 * credentials.
 */
export async function download(
  url: string,
  file: string,
  options: FetchOptions,
): Promise<Fetched | undefined> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await once(url, file, options);
    } catch (err) {
      await rm(file, { force: true });
      if (options.signal.aborted) throw canceled(options.signal.reason);
      const error = err instanceof DrydockError ? err : broken(url, err);
      if (attempt === tries || error.code !== 'unavailable') throw error;
      await pause(150 * 3 ** (attempt - 1), options.signal);
    }
  }
}

/**
 * Whether a server still has the file that it has named `etag` before. It is asked by HEAD, and the name in its answer
 * is compared here, for there are servers that name files and do not know If-None-Match. False when the server does not
 * say, for whatever reason.
 */
export async function stillHas(
  url: string,
  etag: string,
  { headers, signal }: Pick<FetchOptions, 'headers' | 'signal'>,
): Promise<boolean> {
  try {
    const asked = { ...headers, 'if-none-match': etag };
    const response = await send('HEAD', url, asked, signal, shortIdle);
    response.resume();
    const { statusCode: status, headers: told } = response;
    if (told.etag === undefined) return status === 304;
    return (status === 200 || status === 304) && strong(told.etag) === strong(etag);
  } catch {
    if (signal.aborted) throw canceled(signal.reason);
    return false;
  }
}

/** The name without the mark of a weak one: servers call a name weak once they encode the file. */
function strong(etag: string): string {
  return etag.replace(/^W\//, '');
}

function send(
  method: 'GET' | 'HEAD',
  url: string,
  headers: Record<string, string>,
  signal: AbortSignal,
  idleMs: number,
): Promise<HttpResponse> {
  return pool.send({
    method,
    url: new URL(bare(url)),
    headers: { 'user-agent': userAgent, 'accept-encoding': 'gzip', ...basicAuth(url), ...headers },
    signal,
    insecure: false,
    idleMs,
  });
}

async function once(url: string, file: string, options: FetchOptions): Promise<Fetched | undefined> {
  const { headers, signal, report } = options;
  const response = await send('GET', url, headers, signal, idle);
  const { statusCode: status = 0, statusMessage = '' } = response;
  if (status < 200 || status > 299) {
    response.resume();
    if (status === 304) return undefined;
    throw statusError(url, status, statusMessage);
  }
  const total = Number(response.headers['content-length'] ?? 0);
  let received = 0;
  const { bytes, broken } = decoded(response, (count) => {
    received += count;
    report(received, total);
  });
  const { digest, size } = await save(bytes, file).catch((err) => {
    throw broken(err)
      ? fail(
          'corrupt',
          'http',
          `${shown(url)}: the body is not what its Content-Encoding says: ${err.message}`,
          {
            cause: err,
          },
        )
      : err;
  });
  if (total > 0 && received !== total) {
    throw fail(
      'unavailable',
      'http',
      `${shown(url)}: the server broke off after ${received} of ${total} bytes`,
      {
        hint: 'Try again; a proxy on the way may have cut it off.',
      },
    );
  }
  return {
    digest,
    size,
    etag: response.headers.etag,
    lastModified: response.headers['last-modified'],
    filename: dispositionName(response.headers['content-disposition']),
  };
}

const decoders: Readonly<Record<string, () => Transform>> = {
  gzip: createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
  zstd: createZstdDecompress,
};

/**
 * The body without its Content-Encoding, which is no part of the file. Drydock asks for gzip, and some servers use
 * other encodings unasked. (`x-gzip` is part of the file: servers say it of archives.) `onBytes` hears of bytes as they
 * come in, and `broken` tells an error of the encoding from others.
 */
function decoded(
  response: HttpResponse,
  onBytes: (count: number) => void,
): { bytes: AsyncIterable<Uint8Array>; broken(err: unknown): err is Error } {
  const encoding = (response.headers['content-encoding'] ?? '').trim().toLowerCase();
  const make = Object.hasOwn(decoders, encoding) ? decoders[encoding] : undefined;
  const counted = (async function* () {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      onBytes(chunk.length);
      yield chunk;
    }
  })();
  if (make === undefined || response.headers['content-length'] === '0') {
    return { bytes: counted, broken: (err): err is Error => false };
  }
  let failure: Error | undefined;
  const decoder = make().once('error', (err) => {
    failure ??= err;
  });
  const source = Readable.from(counted).once('error', (err) => {
    failure = new Error('not the decoder', { cause: err });
  });
  pipeline(source, decoder, () => {});
  return { bytes: decoder, broken: (err): err is Error => err instanceof Error && err === failure };
}

/** Streams bytes into a new file, with back-pressure. `onBytes` hears how many there are so far. */
export async function save(
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  file: string,
  onBytes: (size: number) => void = () => {},
): Promise<{ digest: Digest; size: number }> {
  const hash = createHash('sha256');
  let size = 0;
  const out = createWriteStream(file, { flags: 'wx', mode: 0o600 });
  const failed = new Promise<never>((_, reject) => out.once('error', reject));
  failed.catch(() => {});
  try {
    for await (const chunk of bytes) {
      hash.update(chunk);
      size += chunk.length;
      if (!out.write(chunk))
        await Promise.race([new Promise((resolve) => out.once('drain', resolve)), failed]);
      onBytes(size);
    }
    await Promise.race([new Promise<void>((resolve) => out.end(resolve)), failed]);
  } finally {
    out.destroy();
  }
  return { digest: `sha256:${hash.digest('hex')}`, size };
}

/** The URL for errors: without user, password and query values. */
export function shown(url: string): string {
  return withoutCredentials(url).replace(/([?&][^=&#?]*)=[^&#]*/g, '$1=…');
}

function bare(url: string): string {
  const parsed = new URL(url);
  parsed.username = '';
  parsed.password = '';
  return parsed.href;
}

function basicAuth(url: string): Record<string, string> {
  const { username, password } = new URL(url);
  if (username === '' && password === '') return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}

function statusError(url: string, status: number, text: string): DrydockError {
  const kinds: Record<number, [ErrorCode, string?]> = {
    401: ['unauthenticated', 'The server wants credentials.'],
    403: ['denied', 'The server does not give this file to you.'],
    404: ['not-found', 'Check the URL.'],
    410: ['not-found', 'The file is gone from the server.'],
  };
  const again = status >= 500 || status === 429 || status === 408;
  const [code, hint] = kinds[status] ?? [
    again ? 'unavailable' : 'failed',
    again ? 'The server has trouble of its own: try again later.' : 'Check the URL.',
  ];
  return fail(
    code,
    'http',
    `${shown(url)}: invalid response status ${status}${text === '' ? '' : ` ${text}`}`,
    {
      hint,
      details: { url: shown(url), status },
    },
  );
}

function broken(url: string, err: unknown): DrydockError {
  let cause: unknown = err;
  while (cause instanceof Error && cause.cause instanceof Error) cause = cause.cause;
  const { code, syscall } = cause as NodeJS.ErrnoException;
  if (code === 'ENOSPC') {
    return fail('exhausted', 'host', `no space left on the disk for ${shown(url)}`, {
      hint: 'Free disk space, for example with `drydock prune`.',
      cause: err,
    });
  }
  if (syscall === 'open' || syscall === 'write') {
    return fail('internal', 'http', `${shown(url)} cannot be stored: ${(cause as Error).message}`, {
      cause: err,
    });
  }
  const why = cause instanceof Error ? cause.message || cause.name : String(cause);
  return fail('unavailable', 'http', `${shown(url)} cannot be fetched: ${why}`, {
    hint: hints[code ?? ''] ?? 'Try again; if it stays, look at the network and the proxies on the way.',
    details: { url: shown(url) },
    cause: err,
  });
}

const hints: Record<string, string> = {
  ENOTFOUND: 'Check the host name and the network.',
  EAI_AGAIN: 'Check the host name and the network.',
  ECONNREFUSED: 'Check that a server listens there, and the port.',
};

/** The file name in a Content-Disposition header, when it is a plain one. */
function dispositionName(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  const encoded = /;\s*filename\*=utf-8''([^;]+)/i.exec(header)?.[1];
  const plain = /;\s*filename=(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))/i.exec(header);
  try {
    const name =
      encoded === undefined
        ? (plain?.[1]?.replace(/\\(.)/g, '$1') ?? plain?.[2])
        : decodeURIComponent(encoded);
    return name === undefined || !isFileName(name) ? undefined : name;
  } catch {
    return undefined;
  }
}

/** Whether a text may be the name of a file in a folder. */
export function isFileName(name: string): boolean {
  return (
    name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name) && Buffer.byteLength(name) <= 255
  );
}
