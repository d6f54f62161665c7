/** Addresses and subnets as numbers. Pure. */
import { fail } from '../errors/index.ts';
import { ipFamily } from '../words/index.ts';

/** A subnet of either family: its first address as a number, and the bits of its prefix. */
export interface Subnet {
  family: 4 | 6;
  base: bigint;
  bits: number;
}

const width = { 4: 32, 6: 128 } as const;

/** Reads `10.0.0.0/8`, `fd00::/64`, or a single address. Throws `invalid`; `what` names the setting. */
export function parseSubnet(text: string, what: string): Subnet {
  const [address = '', bitsText, ...rest] = text.split('/');
  const family = ipFamily(address);
  const bits = bitsText === undefined ? (family === 6 ? 128 : 32) : Number(bitsText);
  const isBits = bitsText === undefined || /^\d{1,3}$/.test(bitsText);
  if ((family !== 4 && family !== 6) || rest.length > 0 || !isBits || bits > width[family]) {
    throw fail('invalid', 'client', `${what}: ${JSON.stringify(text)} is no network`, {
      hint: 'Write it as 10.213.0.0/20 or fd00:1:2:3::/64.',
    });
  }
  const host = BigInt(width[family] - bits);
  return { family, base: (numberOf(address) >> host) << host, bits };
}

/** Whether two subnets have an address in common. */
export function overlap(a: Subnet, b: Subnet): boolean {
  if (a.family !== b.family) return false;
  const host = BigInt(width[a.family] - Math.min(a.bits, b.bits));
  return a.base >> host === b.base >> host;
}

/**
 * Whether an address lies in a subnet. IPv4 in IPv6 counts as IPv4, however it is written: `::ffff:10.0.0.1` and
 * `::ffff:a00:1`, and the address that a translator of the network makes of `64:ff9b::a00:1` (RFC 6052).
 */
export function isIn(address: string, subnet: Subnet): boolean {
  const plain = address.replace(/%.*$/, '');
  if (ipFamily(plain) === 0) return false;
  const lies = (text: string) => overlap(parseSubnet(text, 'address'), subnet);
  const bytes = bytesOfAddress(plain);
  const holdsV4 = bytes.length === 16 && v4Prefixes.includes(bytes.toString('hex', 0, 12));
  return lies(plain) || (holdsV4 && lies([...bytes.subarray(12)].join('.')));
}

/** `::ffff:0:0/96` and `64:ff9b::/96`. */
const v4Prefixes = ['00000000000000000000ffff', '0064ff9b0000000000000000'];

/** The number of an address, whose text must be one. */
function numberOf(address: string): bigint {
  return BigInt(`0x${bytesOfAddress(address).toString('hex')}`);
}

/** The bytes of an address in network order: 4 or 16. */
export function bytesOfAddress(address: string): Buffer {
  if (ipFamily(address) === 4) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail] = address.replace(/%.*$/, '').split('::');
  const words = (text: string): number[] =>
    text.split(':').flatMap((word) => {
      if (word === '') return [];
      if (!word.includes('.')) return [Number.parseInt(word, 16)];
      const [a = 0, b = 0, c = 0, d = 0] = word.split('.').map(Number);
      return [(a << 8) | b, (c << 8) | d];
    });
  const [first, last] = [words(head), words(tail ?? '')];
  const all = [...first, ...Array<number>(Math.max(0, 8 - first.length - last.length)).fill(0), ...last];
  const bytes = Buffer.alloc(16);
  for (const [i, word] of all.slice(0, 8).entries()) bytes.writeUInt16BE(word, i * 2);
  return bytes;
}

/** The text of the address that is so many after a subnet's first one. */
export function nthAddress({ family, base }: Subnet, n: number): string {
  const hex = (base + BigInt(n)).toString(16).padStart(family === 4 ? 8 : 32, '0');
  if (family === 4) return [...Buffer.from(hex, 'hex')].join('.');
  return (hex.match(/.{4}/g) ?? []).map((word) => word.replace(/^0{1,3}/, '')).join(':');
}

/** The text of a subnet. */
export function subnetText(subnet: Subnet): string {
  return `${nthAddress(subnet, 0)}/${subnet.bits}`;
}

/** So many addresses can be given to steps. */
export function sizeOf({ family, bits }: Subnet): number {
  return Number(2n ** BigInt(Math.min(width[family] - bits, 24)));
}
