/** The addresses of a daemon: `unix:///path`, `tcp://host:port`, `fd://`. Pure. */
import { isAbsolute, join } from 'node:path';
import { type DrydockError, fail } from '../errors/index.ts';

export type Address =
  | { kind: 'unix'; path: string }
  | { kind: 'tcp'; host: string; port: number }
  /** The sockets that the service manager opened: all of them, or the one of this name or number. */
  | { kind: 'fd'; which: string };

/** The port of a `tcp://` address that names none, as docker has it with TLS. */
const defaultPort = 2376;

/**
 * The longest path of a socket: it must fit `sockaddr_un` (107 bytes and a NUL), and some bytes are needed to put it in
 * place.
 */
const maxPath = 107;

/** Reads an address; a bare absolute path is a unix socket. Throws `invalid` with the forms that there are. */
export function parseAddress(text: string): Address {
  const bad = (why: string): DrydockError =>
    fail('invalid', 'client', `invalid address ${JSON.stringify(text)}: ${why}`, {
      hint: 'Addresses are unix:///path/to.sock, tcp://HOST:PORT, and for a daemon fd:// (socket activation).',
    });
  if (text.startsWith('/')) return unixAddress(text, bad);
  const match = /^([a-z]+):\/\/(.*)$/s.exec(text);
  if (match === null) throw bad('it has no scheme');
  const [, scheme, rest] = match as unknown as [string, string, string];
  if (scheme === 'unix') return unixAddress(rest, bad);
  if (scheme === 'fd') return { kind: 'fd', which: rest === '*' ? '' : rest };
  if (scheme !== 'tcp') throw bad(`${scheme}:// is not known`);
  const tcp = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]*)(?::(\d{1,5}))?\/?$/.exec(rest);
  const port = Number(tcp?.[2] ?? defaultPort);
  if (tcp === null || port > 65535) throw bad('want tcp://HOST:PORT');
  return { kind: 'tcp', host: (tcp[1] as string).replace(/^\[(.*)\]$/, '$1'), port };
}

function unixAddress(path: string, bad: (why: string) => DrydockError): Address {
  if (!isAbsolute(path)) throw bad('the path of a socket is absolute');
  if (path.includes('\0')) throw bad('the path holds a NUL');
  if (Buffer.byteLength(path) > maxPath) throw bad(`the path is longer than ${maxPath} bytes`);
  return { kind: 'unix', path };
}

/** The address as it is written. */
export function formatAddress(address: Address): string {
  switch (address.kind) {
    case 'unix':
      return `unix://${address.path}`;
    case 'fd':
      return `fd://${address.which}`;
    case 'tcp':
      return `tcp://${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
  }
}

/** Whether only this machine can reach an address. A name does not count, for its address may change. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || /^127(\.\d{1,3}){3}$/.test(host) || host === '::1';
}

/** The folder of the daemon that serves a root. */
export function daemonFolder(root: string): string {
  return join(root, 'daemon');
}

/** The default address of a root's daemon. */
export function defaultSocket(root: string): string {
  return join(daemonFolder(root), 'drydock.sock');
}
