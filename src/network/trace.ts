/**
 * Tells whether a namespace is as new after a step: the step has sent nothing, over no interface, and left no socket.
 * Then there is nothing in it that the next step could meet: a state of the kernel's there (connections that are waiting
 * for their end, neighbours, sizes of packets) is made by packets alone, and settings cannot be changed without
 * CAP_NET_ADMIN.
 */
import { readSync } from 'node:fs';
import { closeFd, openNetworkFile } from '../linux/index.ts';

/** Descriptors of a namespace's counters: /proc/net/dev, sockstat, snmp, and snmp6 where there is IPv6. */
export type CounterFds = readonly number[];

const files = ['dev', 'sockstat', 'snmp', 'snmp6'];

/** Opens the counters of the namespace that the calling thread is in. They stay those of that namespace. */
export function openCounters(): CounterFds {
  // A kernel without IPv6 has no snmp6.
  return files.flatMap((name) => openNetworkFile(name) ?? []);
}

/** What has happened in a namespace so far, as numbers to compare. */
export interface Trace {
  /** Packets that interfaces have sent, but for those that the kernel sends by itself. */
  sent: number;
  /**
   * Packets that IP was given to send, but for the same ones. A tunnel's interface, as pasta's, counts a packet only when
   * the program at its other end reads it.
   */
  asked: number;
  /** Sockets that are open, and connections that wait for their end. */
  sockets: number;
}

/** Reads the counters (proc_net(5)). */
export function traceOf(fds: CounterFds): Trace {
  return traceIn(fds.map(read).join('\n'));
}

/** `traceOf` on the files' texts. Pure. */
export function traceIn(text: string): Trace {
  let sent = 0;
  for (const [, fields = ''] of text.matchAll(/^ *[^\s:]+: *((?:\d+ +){15}\d+)$/gm)) {
    // After eight fields of what was received: bytes, packets …
    sent += Number(fields.split(/ +/)[9]);
  }
  const [, , names = '', values = ''] = /^(Ip: )(.*)\nIp: (.*)$/m.exec(text) ?? [];
  let asked = Number(values.split(' ')[names.split(' ').indexOf('OutRequests')] ?? 0);
  asked += Number(/^Ip6OutRequests\s+(\d+)$/m.exec(text)?.[1] ?? 0);
  // The kernel tells routers its groups, and looks for routers, whenever it likes to.
  for (const [, count] of text.matchAll(/^Icmp6Out(?:MLDv2Reports|RouterSolicits)\s+(\d+)$/gm)) {
    sent -= Number(count);
    asked -= Number(count);
  }
  const [, used = '0'] = /^sockets: used (\d+)/m.exec(text) ?? [];
  const [, waiting = '0'] = /^TCP:.* tw (\d+)/m.exec(text) ?? [];
  return { sent, asked, sockets: Number(used) + Number(waiting) };
}

/** What a second look at a namespace shows. */
export type Use = 'unused' | 'unsure' | 'used';

/**
 * Tells whether something has happened between two looks at a namespace. The kernel may count a socket for a moment more
 * that was closed before the first look. It counts a packet of its own before it counts the kind of the packet, and its
 * thread may have to wait in between: one packet more or less is "unsure", and a later look tells.
 */
export function useBetween(before: Trace, after: Trace): Use {
  const sent = after.sent - before.sent;
  const asked = after.asked - before.asked;
  if (after.sockets > before.sockets || Math.abs(sent) > 1 || Math.abs(asked) > 1) return 'used';
  // A namespace that has never sent anything is as new, even if the first look was taken in the middle of the kernel's.
  const isNew = after.sent === 0 && after.asked === 0;
  return isNew || (sent === 0 && asked === 0) ? 'unused' : 'unsure';
}

export function closeCounters(fds: CounterFds): void {
  for (const fd of fds) closeFd(fd);
}

function read(fd: number): string {
  const buffer = Buffer.alloc(16 << 10);
  let length = 0;
  // The kernel gives some lines at a time.
  for (let got = -1; got !== 0 && length < buffer.length; length += got) {
    got = readSync(fd, buffer, length, buffer.length - length, length);
  }
  return buffer.toString('latin1', 0, length);
}
