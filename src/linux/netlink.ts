/**
 * Speaks netlink: rtnetlink, by which links, addresses and routes are made, and nfnetlink, by which rules are. Each request is one message with attributes, and the
 * kernel answers it with an error number. https://www.kernel.org/doc/html/latest/userspace-api/netlink/intro.html
 */
import { getSystemErrorName } from 'node:util';
import { fault, fns } from './call.ts';
import { closeFd } from './open-in.ts';

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const protocols = { route: 0, netfilter: 12 } as const;

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_DUMP = 0x300;
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
  readonly #reply = Buffer.alloc(1 << 16);

  /** `from`: the protocol, or the descriptor of a connection that was taken out of one before. */
  constructor(from: keyof typeof protocols | number = 'route') {
    this.#fd =
      typeof from === 'number' ? from : fns.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocols[from]);
    if (this.#fd < 0) throw fault('socket');
  }

  /** The descriptor, which stays in its namespace wherever it is used. */
  get fd(): number {
    return this.#fd;
  }

  /**
   * Sends one request and waits for its answer. `flags` are those besides NLM_F_REQUEST and NLM_F_ACK; `body` is the
   * fixed part of the message. Throws a Node-style error with the kernel's error code.
   */
  request(type: number, flags: number, body: Uint8Array, attributes: readonly NetlinkAttribute[]): void {
    this.#send(type, flags | NLM_F_ACK, Buffer.concat([body, netlinkAttributes(attributes)]));
    while (!this.#receive(type).isEnd);
  }

  /** Asks for a list. Returns the messages without their headers. */
  list(type: number, body: Uint8Array): Buffer[] {
    this.#send(type, NLM_F_DUMP, body);
    const found: Buffer[] = [];
    for (;;) {
      const { messages, isEnd } = this.#receive(type);
      found.push(...messages);
      if (isEnd) return found;
    }
  }

  #send(type: number, flags: number, body: Uint8Array): void {
    const message = Buffer.alloc(headerSize + body.length);
    message.writeUInt32LE(message.length, 0);
    message.writeUInt16LE(type, 4);
    message.writeUInt16LE(flags | NLM_F_REQUEST, 6);
    message.writeUInt32LE(++this.#sequence, 8);
    message.set(body, headerSize);
    if (Number(fns.sendto(this.#fd, message, message.length, 0, null, 0)) < 0) throw fault('sendto');
  }

  /** One datagram of the answer to the last request. */
  #receive(type: number): { messages: Buffer[]; isEnd: boolean } {
    const size = Number(fns.recv(this.#fd, this.#reply, this.#reply.length, 0));
    if (size < 0) throw fault('recv');
    const messages: Buffer[] = [];
    for (let at = 0; at + headerSize <= size; ) {
      const length = this.#reply.readUInt32LE(at);
      const kind = this.#reply.readUInt16LE(at + 4);
      const body = this.#reply.subarray(at + headerSize, at + length);
      if (this.#reply.readUInt32LE(at + 8) === this.#sequence) {
        if (kind === NLMSG_DONE) return { messages, isEnd: true };
        if (kind === NLMSG_ERROR) {
          const errno = body.readInt32LE(0);
          if (errno !== 0) throw refused(type, errno);
          return { messages, isEnd: true };
        }
        messages.push(Buffer.from(body));
      }
      at += (Math.max(length, headerSize) + 3) & ~3;
    }
    return { messages, isEnd: false };
  }

  close(): void {
    closeFd(this.#fd);
  }
}

function refused(type: number, errno: number): Error {
  const code = getSystemErrorName(errno);
  const message = `${code}: netlink request ${type} failed`;
  return Object.assign(new Error(message), { errno, code, syscall: 'netlink' });
}

/** The attributes in the bytes of a message; those of a number that is there twice are the last ones. */
export function readNetlinkAttributes(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = Math.max(bytes.readUInt16LE(at), 4);
    // The upper two bits say how the value is written.
    found.set(bytes.readUInt16LE(at + 2) & 0x3fff, bytes.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return found;
}

/** The number of a network interface by its name, in the calling thread's namespace; 0 when there is none. */
export function interfaceIndex(name: string): number {
  return fns.if_nametoindex(name);
}
