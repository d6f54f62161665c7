/** The daemon's listening sockets. Each connection is handed on with what its listener knows of it. */
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import type { Log } from '../api/index.ts';
import { type Listener, type TlsFiles, tlsListenerOptions } from '../auth/index.ts';
import { errnoCode, fail } from '../errors/index.ts';
import {
  type ActivatedSocket,
  chooseActivated,
  groupOf,
  takeActivatedSockets,
  unixPath,
} from './activation.ts';
import { type Address, formatAddress, isLoopback } from './address.ts';
import { type BoundSocket, groupId, listenUnix } from './unix-socket.ts';

interface ListenOptions {
  addresses: readonly Address[];
  /** Group of unix sockets: name or number. */
  group?: string;
  tls?: TlsFiles;
  /** Allow TCP on loopback without TLS: every program and user of this machine may then do everything. */
  insecureTcp?: boolean;
  activated?: readonly ActivatedSocket[];
  log: Log;
}

/** The open listeners of a daemon. */
export interface Listeners {
  /** The addresses of the daemon; a port that was 0 is the real one. */
  readonly addresses: readonly string[];
  /** Reads certificates again. Never throws; broken ones are logged and the old ones kept. */
  reload(): void;
  /** Takes no more connections. Those that are there stay. */
  close(): void;
}

type Accept = (socket: Socket, listener: Listener) => void;

/** Opens all listeners or none. Throws a DrydockError that names the address. */
export async function openListeners(options: ListenOptions, accept: Accept): Promise<Listeners> {
  const open: OpenListener[] = [];
  let activated = options.activated;
  const close = () => {
    for (const each of open) each.close();
  };
  try {
    for (const address of options.addresses) {
      if (address.kind === 'unix') open.push(await openUnix(address.path, options, accept));
      else if (address.kind === 'tcp') open.push(await openTcp(address, options, accept));
      else {
        activated ??= takeActivatedSockets();
        for (const { fd } of chooseActivated(activated, address.which)) {
          open.push(await openFd(fd, options, accept));
        }
      }
    }
  } catch (err) {
    close();
    throw err;
  }
  return {
    addresses: open.map(({ name }) => name),
    reload() {
      for (const each of open) each.reload?.();
    },
    close,
  };
}

interface OpenListener {
  name: string;
  close(): void;
  reload?(): void;
}

async function openUnix(path: string, { group, log }: ListenOptions, accept: Accept): Promise<OpenListener> {
  const gid = groupId(group);
  const server = createServer({ noDelay: true }, (socket) => accept(socket, { kind: 'unix', gid }));
  const bound: BoundSocket = await listenUnix(server, path, gid);
  watch(server, path, log);
  return {
    name: `unix://${path}`,
    close() {
      server.close();
      bound.remove();
    },
  };
}

async function openTcp(
  address: Address & { kind: 'tcp' },
  options: ListenOptions,
  accept: Accept,
): Promise<OpenListener> {
  const name = formatAddress(address);
  const { server, reload } = tcpServer(name, address.host, options, accept);
  await listening(server, name, { host: address.host || undefined, port: address.port });
  watch(server, name, options.log);
  const { port } = server.address() as { port: number };
  return { name: formatAddress({ ...address, port }), close: () => server.close(), reload };
}

async function openFd(fd: number, options: ListenOptions, accept: Accept): Promise<OpenListener> {
  const path = unixPath(fd);
  if (path !== undefined) {
    const gid = groupOf(path);
    const server = createServer({ noDelay: true }, (socket) => accept(socket, { kind: 'unix', gid }));
    await listening(server, `fd://${fd}`, { fd });
    watch(server, path, options.log);
    return { name: `unix://${path}`, close: () => server.close() };
  }
  // Where it listens is known only once it does; a look at it first must not let anyone in.
  const probe = createServer();
  await listening(probe, `fd://${fd}`, { fd });
  const found = probe.address() as { address: string; port: number } | null;
  if (found === null) throw fail('invalid', 'host', `fd://${fd} is no listening socket`);
  const name = formatAddress({ kind: 'tcp', host: found.address, port: found.port });
  const { server, reload } = tcpServer(name, found.address, options, accept);
  probe.on('connection', (socket) => server.emit('connection', socket));
  watch(probe, name, options.log);
  return { name, close: () => probe.close(), reload };
}

function tcpServer(
  name: string,
  host: string,
  { tls, insecureTcp, log }: ListenOptions,
  accept: Accept,
): { server: Server; reload?: () => void } {
  if (tls === undefined) {
    if (!insecureTcp || !isLoopback(host)) {
      throw fail(
        'invalid',
        'host',
        insecureTcp
          ? `${name}: TCP without TLS is for this machine alone (127.0.0.1, ::1, localhost)`
          : `${name}: TCP needs TLS`,
        {
          hint: 'Give --tls-cert and --tls-key, and --tls-ca for client certificates; or use a unix socket (over ssh from afar).',
        },
      );
    }
    log('warn', `${name} is open to every user and program of this machine (--insecure-tcp)`);
    const server = createServer({ noDelay: true, keepAlive: true }, (socket) =>
      accept(socket, { kind: 'tcp', insecure: true }),
    );
    return { server };
  }
  const server: TlsServer = createTlsServer({
    ...tlsListenerOptions(tls, log),
    ALPNProtocols: ['h2', 'http/1.1'],
    handshakeTimeout: 30_000,
  });
  server.on('secureConnection', (socket: TLSSocket) => {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 30_000);
    accept(socket, { kind: 'tls' });
  });
  server.on('tlsClientError', (err: Error, socket: TLSSocket) => {
    log('debug', `${name}: the TLS handshake failed: ${err.message}`, { peer: socket.remoteAddress });
    socket.destroy();
  });
  const reload = () => {
    try {
      server.setSecureContext(tlsListenerOptions(tls, log));
    } catch (err) {
      log('error', `${name}: the changed certificates are not taken: ${(err as Error).message}`);
    }
  };
  return { server, reload };
}

function listening(server: Server, name: string, where: object): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (err: NodeJS.ErrnoException) => {
      const code = errnoCode(err) ?? 'unknown error';
      const hints: Record<string, string> = {
        EADDRINUSE: 'Another process listens there; stop it or choose another port.',
        EADDRNOTAVAIL: 'This machine has no such address.',
        EACCES: 'Ports below 1024 need root.',
      };
      reject(
        fail(code === 'EADDRINUSE' ? 'conflict' : 'invalid', 'host', `cannot listen on ${name} (${code})`, {
          cause: err,
          hint: hints[code],
        }),
      );
    };
    server.once('error', failed);
    server.listen(where, () => {
      server.off('error', failed);
      resolve();
    });
  });
}

/** Out of file descriptors and the like: told, and the listener goes on. */
function watch(server: Server, name: string, log: Log): void {
  server.on('error', (err) => log('error', `the listener ${name} has trouble: ${err.message}`));
}
