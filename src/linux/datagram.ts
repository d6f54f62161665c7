/** Sends datagrams to unix sockets, which Node cannot do. */
import { closeSync } from 'node:fs';
import { fault, fns } from './call.ts';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;
/** The bytes of a path in an address (unix(7)). */
const maxPath = 108;

/**
 * Sends one datagram. A path that begins with `@` is a name in the abstract namespace. Throws a Node-style error:
 * ENOENT or ECONNREFUSED when nobody listens there.
 */
export function sendDatagram(path: string, data: string): void {
  const name = Buffer.from(path.startsWith('@') ? `\0${path.slice(1)}` : path);
  if (name.length >= maxPath) throw new Error(`the socket's path is too long: ${path}`);
  const address = Buffer.alloc(2 + maxPath);
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  // An abstract name ends with the address, a path with a zero byte.
  const size = 2 + name.length + (path.startsWith('@') ? 0 : 1);
  const fd = fns.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw fault('socket', path);
  try {
    const bytes = Buffer.from(data);
    const sent = Number(fns.sendto(fd, bytes, bytes.length, MSG_NOSIGNAL, address, size));
    if (sent < 0) throw fault('sendto', path);
  } finally {
    closeSync(fd);
  }
}
