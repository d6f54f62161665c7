import { isIPv4 } from 'node:net';

/** Whether the peer of a socket is on this machine, as far as that can be told: it uses a unix socket or a loopback address. */
export function isNear(socket: { readonly remoteAddress?: string } | undefined): boolean {
  if (socket === undefined) return false;
  const address = socket.remoteAddress?.replace(/^::ffff:/, '');
  return address === undefined || address === '::1' || (isIPv4(address) && address.startsWith('127.'));
}
