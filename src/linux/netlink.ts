/**
 * Speaks rtnetlink, by which links, addresses and routes are made. Each request is one message with attributes, and the
 * kernel answers it with an error number. https://www.kernel.org/doc/html/latest/userspace-api/netlink/intro.html
 */
import { getSystemErrorName } from 'node:util';
import { fault, fns } from './call.ts';
import { closeFd } from './open-in.ts';

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_ROUTE = 0;

const NLMSG_ERROR = 2;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const headerSize = 16;

/** An attribute: its type, and its value (bytes, a number of 32 bits, a text, or attributes in it). */
type NetlinkAttribute = [type: number, value: Uint8Array | number | string | NetlinkAttribute[]];

/** The bytes of attributes, each one padded to four bytes. */
export function netlinkAttributes(attributes: readonly NetlinkAttribute[]): Buffer {
  return Buffer.concat(
    attributes.map(([type, value]) => {
      const data = bytesOfValue(value);
      const padded = Buffer.alloc(4 + ((data.length + 3) & ~3));
      padded.writeUInt16LE(4 + data.length, 0);
      padded.writeUInt16LE(type, 2);
      padded.set(data, 4);
      return padded;
    }),
  );
}

function bytesOfValue(value: NetlinkAttribute[1]): Uint8Array {
  if (typeof value === 'string') return Buffer.from(`${value}\0`);
  if (Array.isArray(value)) return netlinkAttributes(value);
  if (typeof value !== 'number') return value;
  const word = Buffer.alloc(4);
  word.writeUInt32LE(value >>> 0);
  return word;
}

/** A connection to the network namespace in which the calling thread is when it is made. */
export class Netlink {
  readonly #fd: number;
  #sequence = 0;
  readonly #reply = Buffer.alloc(8192);

  constructor() {
    this.#fd = fns.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (this.#fd < 0) throw fault('socket');
  }

  /**
   * Sends one request and waits for its answer. `flags` are those besides NLM_F_REQUEST and NLM_F_ACK; `body` is the
   * fixed part of the message. Throws a Node-style error with the kernel's error code.
   */
  request(type: number, flags: number, body: Uint8Array, attributes: readonly NetlinkAttribute[]): void {
    const rest = netlinkAttributes(attributes);
    const message = Buffer.alloc(headerSize + body.length + rest.length);
    const sequence = ++this.#sequence;
    message.writeUInt32LE(message.length, 0);
    message.writeUInt16LE(type, 4);
    message.writeUInt16LE(flags | NLM_F_REQUEST | NLM_F_ACK, 6);
    message.writeUInt32LE(sequence, 8);
    message.set(body, headerSize);
    message.set(rest, headerSize + body.length);
    if (Number(fns.sendto(this.#fd, message, message.length, 0, null, 0)) < 0) throw fault('sendto');
    for (;;) {
      const size = Number(fns.recv(this.#fd, this.#reply, this.#reply.length, 0));
      if (size < 0) throw fault('recv');
      const isAnswer =
        this.#reply.readUInt16LE(4) === NLMSG_ERROR && this.#reply.readUInt32LE(8) === sequence;
      if (!isAnswer) continue;
      const errno = this.#reply.readInt32LE(headerSize);
      if (errno === 0) return;
      const code = getSystemErrorName(errno);
      throw Object.assign(new Error(`${code}: netlink request ${type} failed`), {
        errno,
        code,
        syscall: 'netlink',
      });
    }
  }

  close(): void {
    closeFd(this.#fd);
  }
}

/** The number of a network interface by its name, in the calling thread's namespace; 0 when there is none. */
export function interfaceIndex(name: string): number {
  return fns.if_nametoindex(name);
}
