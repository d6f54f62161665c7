/** Functions of IP networks in CIDR notation. */
import { isIP } from 'node:net';
import type { HclFunction } from '../types.ts';
import { fn } from './arguments.ts';

/** A network: its first address as a number, its prefix's length, and the bits of its addresses (32 or 128). */
interface Network {
  address: bigint;
  prefix: number;
  bits: 32 | 128;
}

function network(text: string): Network {
  const [ip = '', length = '', ...more] = text.split('/');
  const version = isIP(ip);
  const bits = version === 4 ? 32 : 128;
  const prefix = Number(length);
  if (version === 0 || more.length > 0 || !/^\d+$/.test(length) || prefix > bits)
    throw new Error(`invalid CIDR expression: ${text}`);
  const address = version === 4 ? number4(ip) : number6(ip);
  const host = BigInt(bits - prefix);
  return { address: (address >> host) << host, prefix, bits };
}

function number4(ip: string): bigint {
  return ip.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
}

function number6(ip: string): bigint {
  const embedded = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(ip);
  const text = embedded === null ? ip : `${embedded[1]}${hex4(number4(embedded[2] as string))}`;
  const [head = '', tail] = text.split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':'));
  const [first, last] = [groups(head), groups(tail ?? '')];
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length;
  const all = [...first, ...Array<string>(zeros).fill('0'), ...last];
  return all.reduce((sum, part) => (sum << 16n) | BigInt(`0x${part}`), 0n);
}

function hex4(value: bigint): string {
  return `${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`;
}

function addressText(address: bigint, bits: 32 | 128): string {
  if (bits === 32) return [24n, 16n, 8n, 0n].map((shift) => (address >> shift) & 255n).join('.');
  const groups = Array.from({ length: 8 }, (_, i) =>
    ((address >> BigInt(112 - 16 * i)) & 0xffffn).toString(16),
  );
  // The longest run of zeros is written as `::`.
  let best = { at: -1, length: 1 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (groups[at + length] === '0') length++;
    if (length > best.length) best = { at, length };
  }
  if (best.at < 0) return groups.join(':');
  return `${groups.slice(0, best.at).join(':')}::${groups.slice(best.at + best.length).join(':')}`;
}

function subnet(of: Network, newBits: number, number: bigint): Network {
  const prefix = of.prefix + newBits;
  if (newBits < 0 || prefix > of.bits)
    throw new Error(`insufficient address space to extend prefix of ${of.prefix} by ${newBits}`);
  if (number < 0n || number >= 1n << BigInt(newBits))
    throw new Error(`prefix extension of ${newBits} does not accommodate a subnet numbered ${number}`);
  return { ...of, prefix, address: of.address | (number << BigInt(of.bits - prefix)) };
}

function networkText({ address, prefix, bits }: Network): string {
  return `${addressText(address, bits)}/${prefix}`;
}

/** Subnets that follow one another, each with a prefix that is longer by a number of bits. */
function subnets(of: Network, newBits: readonly number[]): string[] {
  let next = of.address;
  const end = of.address + (1n << BigInt(of.bits - of.prefix));
  return newBits.map((bits) => {
    const prefix = of.prefix + bits;
    if (bits < 1 || prefix > of.bits)
      throw new Error(`insufficient address space to extend prefix of ${of.prefix} by ${bits}`);
    const size = 1n << BigInt(of.bits - prefix);
    const address = ((next + size - 1n) / size) * size;
    if (address + size > end)
      throw new Error(`not enough remaining address space for a subnet with a prefix of ${prefix} bits`);
    next = address + size;
    return networkText({ ...of, prefix, address });
  });
}

function host(of: Network, number: number): string {
  const size = 1n << BigInt(of.bits - of.prefix);
  const offset = number < 0 ? size + BigInt(number) : BigInt(number);
  if (offset < 0n || offset >= size)
    throw new Error(`prefix of ${of.prefix} does not accommodate a host numbered ${number}`);
  return addressText(of.address + offset, of.bits);
}

function netmask({ prefix, bits }: Network): string {
  if (bits !== 32) throw new Error('only IPv4 networks have a netmask');
  return addressText(((1n << 32n) - 1n) ^ ((1n << BigInt(32 - prefix)) - 1n), 32);
}

export const networkFunctions: Record<string, HclFunction> = {
  cidrhost: fn('prefix, hostnum', (a) => host(network(a.text(0)), a.whole(1))),
  cidrnetmask: fn('prefix', (a) => netmask(network(a.text(0)))),
  cidrsubnet: fn('prefix, newbits, netnum', (a) =>
    networkText(subnet(network(a.text(0)), a.whole(1), BigInt(a.whole(2)))),
  ),
  cidrsubnets: fn('prefix, newbits…', (a) =>
    subnets(
      network(a.text(0)),
      a.all.slice(1).map((_, i) => a.whole(i + 1)),
    ),
  ),
};
