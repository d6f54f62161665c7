/** Network namespaces that only a file descriptor keeps. They affect the calling thread alone, so worker threads use them. */
import { existsSync } from 'node:fs';
import { AT_FDCWD, cName, fault, fns } from './call.ts';
import { closeFd } from './open-in.ts';

const CLONE_NEWNET = 0x40000000;
const O_CLOEXEC = 0o2000000;

/**
 * Runs `body` in a new network namespace and returns a file descriptor of it, which the caller closes. `body` gets the
 * descriptor. The namespace, with all links in it, vanishes with the last process and descriptor in it.
 */
export function inNewNetworkNamespace(body: (fd: number) => void): number {
  const own = openNetwork('/proc/thread-self/ns/net');
  try {
    if (fns.unshare(CLONE_NEWNET) !== 0) throw fault('unshare');
    let made: number | undefined;
    try {
      made = openNetwork('/proc/thread-self/ns/net');
      body(made);
      return made;
    } catch (err) {
      if (made !== undefined) closeFd(made);
      throw err;
    } finally {
      // A thread that sees another network than all others must not continue. This ends the thread alone.
      if (fns.setns(own, CLONE_NEWNET) !== 0) process.exit(1);
    }
  } finally {
    closeFd(own);
  }
}

/**
 * Takes the calling thread into a new network namespace for good, and returns a file descriptor of it, which the caller
 * closes. In a user namespace a thread cannot go back to the network that it came from, which belongs to the machine.
 */
export function enterNewNetworkNamespace(): number {
  if (fns.unshare(CLONE_NEWNET) !== 0) throw fault('unshare');
  return openNetwork('/proc/thread-self/ns/net');
}

/** Runs `body` in the network namespace of a descriptor. */
export function inNetworkNamespace<T>(fd: number, body: () => T): T {
  const own = openNetwork('/proc/thread-self/ns/net');
  try {
    if (fns.setns(fd, CLONE_NEWNET) !== 0) throw fault('setns');
    try {
      return body();
    } finally {
      if (fns.setns(own, CLONE_NEWNET) !== 0) process.exit(1);
    }
  } finally {
    closeFd(own);
  }
}

/**
 * Opens a file in /proc/net of the calling thread's namespace to read it; it stays that namespace's. The caller closes the
 * descriptor. Undefined where the kernel does not have it.
 */
export function openNetworkFile(name: string): number | undefined {
  const path = `/proc/thread-self/net/${name}`;
  return existsSync(path) ? openNetwork(path) : undefined;
}

function openNetwork(path: string): number {
  const fd = fns.openat(AT_FDCWD, cName(path), O_CLOEXEC, 0);
  if (fd < 0) throw fault('open', path);
  return fd;
}

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;

/**
 * Binds a UDP socket, and a TCP socket that listens, to an IPv4 address and a port in the network namespace in which
 * the calling thread is. The caller closes the descriptors.
 */
export function listenOn(address: string, port: number): { udp: number; tcp: number } {
  const udp = boundSocket(SOCK_DGRAM, address, port);
  try {
    const tcp = boundSocket(SOCK_STREAM, address, port);
    if (fns.listen(tcp, 64) === 0) return { udp, tcp };
    closeFd(tcp);
    throw fault('listen');
  } catch (err) {
    closeFd(udp);
    throw err;
  }
}

function boundSocket(type: number, address: string, port: number): number {
  const fd = fns.socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) throw fault('socket');
  const name = Buffer.alloc(16);
  name.writeUInt16LE(AF_INET, 0);
  name.writeUInt16BE(port, 2);
  name.set(address.split('.').map(Number), 4);
  if (fns.bind(fd, name, name.length) === 0) return fd;
  const err = fault('bind', address);
  closeFd(fd);
  throw err;
}
