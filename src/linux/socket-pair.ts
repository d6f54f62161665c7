/** Two sockets that are joined to each other. */
import { Socket } from 'node:net';
import { fault, fns } from './call.ts';

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;

/**
 * What is written to one can be read from the other. Node's HTTP/2 takes a socket better than a stream that is made of
 * something else. Throws a Node-style error.
 */
export function socketPair(): [Socket, Socket] {
  const fds = Buffer.alloc(8);
  if (fns.socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) !== 0)
    throw fault('socketpair');
  const [one, other] = [fds.readInt32LE(0), fds.readInt32LE(4)];
  return [
    new Socket({ fd: one, readable: true, writable: true }),
    new Socket({ fd: other, readable: true, writable: true }),
  ];
}
