/** A listener of its own for those who watch a daemon: its health and its numbers, and nothing else. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { ApiHost } from '../api/index.ts';
import { errnoCode, fail } from '../errors/index.ts';
import type { Network } from '../network/index.ts';
import type { DebugAnswer } from './debug-pages.ts';

/** An open listener for watchers. */
export interface WatchedListener {
  /** `http://HOST:PORT`; a port that was 0 is the real one. */
  readonly url: string;
  close(): void;
}

/** Who may see the pages below `/debug/`. */
interface DebugAccess {
  /** Why the peer at this address may not; undefined when it may. */
  refuses(peer: string): Promise<string | undefined>;
}

/** How long a watcher may take for its request, and between two, in ms. */
const patience = 10_000;
/** The most watchers at a time. */
const maxWatchers = 64;

/**
 * Serves `GET /metrics`, `/healthz`, `/readyz` and `/livez` in plain HTTP to whoever reaches the address (`HOST:PORT`,
 * `:PORT` for all addresses of the machine). The first is Prometheus' text. The next two are 200 while builds are taken,
 * and 503 from the moment on at which the daemon begins to stop; the last is 200 as long as the daemon answers at all. It
 * goes on while the daemon stops, so that a scraper sees the builds which are still running. Steps of builds are not
 * answered. With `debug` the pages below `/debug/` are here, too (`debug-pages.ts`). Throws `invalid` for an address that is none, and `conflict` when it is taken.
 */
export async function openWatchedListener(
  address: string,
  host: Pick<ApiHost, 'metrics' | 'health'>,
  isStep: (address: string) => boolean,
  debug?: DebugAccess,
): Promise<WatchedListener> {
  const { name, port } = readAddress(address);
  const server = createServer(
    { requestTimeout: patience, headersTimeout: patience, keepAliveTimeout: patience },
    (request, response) => {
      request.resume();
      void answer(request, response, host, debug).catch(() => response.destroy());
    },
  );
  server.maxConnections = maxWatchers;
  server.on('connection', (socket: Socket) => {
    if (isStep(socket.remoteAddress ?? '')) socket.destroy();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const code = errnoCode(cause);
      const kind = code === 'EADDRINUSE' ? 'conflict' : 'invalid';
      reject(fail(kind, 'host', `cannot serve metrics on ${address} (${code ?? cause.message})`, { cause }));
    });
    server.listen({ host: name || undefined, port }, resolve);
  });
  server.on('error', () => {});
  const bound = server.address() as { address: string; port: number };
  const shown = bound.address.includes(':') ? `[${bound.address}]` : bound.address;
  return {
    url: `http://${shown}:${bound.port}`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function answer(
  { method = '', url = '', socket }: IncomingMessage,
  response: ServerResponse,
  host: Pick<ApiHost, 'metrics' | 'health'>,
  debug: DebugAccess | undefined,
): Promise<void> {
  const [path = '', search = ''] = url.split('?');
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const { status, type, file, body } =
    method !== 'GET' && method !== 'HEAD'
      ? { status: 405, body: 'only GET and HEAD are answered here\n' }
      : debug !== undefined && /^\/debug(\/|$)/.test(path)
        ? await debugged(path, search, socket.remoteAddress ?? '', debug, gone.signal)
        : await watched(path, host);
  const bytes = Buffer.from(body);
  response.writeHead(status, {
    'content-type': `${type ?? 'text/plain'}; charset=utf-8`,
    'content-length': bytes.length,
    'cache-control': 'no-store',
    ...(file === undefined ? {} : { 'content-disposition': `attachment; filename="${file}"` }),
  });
  response.end(method === 'HEAD' ? undefined : bytes);
}

async function debugged(
  path: string,
  search: string,
  peer: string,
  debug: DebugAccess,
  signal: AbortSignal,
): Promise<DebugAnswer> {
  const refusal = await debug.refuses(peer);
  if (refusal !== undefined) return { status: 403, body: `${refusal}\n` };
  const { debugPage } = await import('./debug-pages.ts');
  return debugPage(path, new URLSearchParams(search), signal);
}

async function watched(path: string, host: Pick<ApiHost, 'metrics' | 'health'>): Promise<DebugAnswer> {
  if (path === '/metrics') {
    return { status: 200, type: 'text/plain; version=0.0.4', body: await host.metrics() };
  }
  if (path === '/livez') return { status: 200, body: 'ok\n' };
  if (path !== '/healthz' && path !== '/readyz') {
    return { status: 404, body: 'here are /metrics, /healthz, /readyz and /livez\n' };
  }
  const { ok, reason } = host.health();
  return ok ? { status: 200, body: 'ok\n' } : { status: 503, body: `${reason}\n` };
}

/**
 * Lets this machine's own users see debug pages, whatever address the listener has, unless steps share its network: they
 * would come from the same address.
 */
export function debugAccess(network: Pick<Network, 'look'>): DebugAccess {
  return {
    async refuses(peer) {
      if (!/^(::1|(::ffff:)?127\.)/.test(peer))
        return 'debug pages are for this machine alone: ask 127.0.0.1';
      const kind = await network.look().then(
        (state) => state.kind,
        () => 'host',
      );
      return kind === 'host' ? 'debug pages are not shown where steps share the network' : undefined;
    },
  };
}

/** Reads `HOST:PORT`, `[IPv6]:PORT`, `:PORT` or `PORT`. Throws `invalid`. */
function readAddress(text: string): { name: string; port: number } {
  const match = /^(?:(?:tcp|http):\/\/)?(?:(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]*):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port > 65535) {
    throw fail('invalid', 'host', `${JSON.stringify(text)} is no address for metrics`, {
      hint: 'Name HOST:PORT, as 127.0.0.1:9090, or :9090 for all addresses of this machine.',
    });
  }
  return { name: (match[1] ?? '').replace(/^\[(.*)\]$/, '$1'), port };
}
