/** A listener of its own for those who watch a daemon: its health and its numbers, and nothing else. */
import { createServer, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { ApiHost } from '../api/index.ts';
import { errnoCode, fail } from '../errors/index.ts';

/** An open listener for watchers. */
export interface WatchedListener {
  /** `http://HOST:PORT`; a port that was 0 is the real one. */
  readonly url: string;
  close(): void;
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
 * answered. Throws `invalid` for an address that is none, and `conflict` when it is taken.
 */
export async function openWatchedListener(
  address: string,
  host: Pick<ApiHost, 'metrics' | 'health'>,
  isStep: (address: string) => boolean,
): Promise<WatchedListener> {
  const { name, port } = readAddress(address);
  const server = createServer(
    { requestTimeout: patience, headersTimeout: patience, keepAliveTimeout: patience },
    (request, response) => {
      request.resume();
      void answer(request.method ?? '', (request.url ?? '').split('?')[0] as string, response, host);
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
  method: string,
  path: string,
  response: ServerResponse,
  host: Pick<ApiHost, 'metrics' | 'health'>,
): Promise<void> {
  const [status, text] = await textOf(method, path, host);
  const body = Buffer.from(text);
  response.writeHead(status, {
    'content-type':
      path === '/metrics' && status === 200
        ? 'text/plain; version=0.0.4; charset=utf-8'
        : 'text/plain; charset=utf-8',
    'content-length': body.length,
    'cache-control': 'no-store',
  });
  response.end(method === 'HEAD' ? undefined : body);
}

async function textOf(
  method: string,
  path: string,
  host: Pick<ApiHost, 'metrics' | 'health'>,
): Promise<[status: number, text: string]> {
  if (method !== 'GET' && method !== 'HEAD') return [405, 'only GET and HEAD are answered here\n'];
  if (path === '/metrics') return [200, await host.metrics()];
  if (path === '/livez') return [200, 'ok\n'];
  if (path !== '/healthz' && path !== '/readyz') {
    return [404, 'here are /metrics, /healthz, /readyz and /livez\n'];
  }
  const { ok, reason } = host.health();
  return ok ? [200, 'ok\n'] : [503, `${reason}\n`];
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
