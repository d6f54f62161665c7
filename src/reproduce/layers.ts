/** What differs between two layers: files, their attributes, the first byte. */
import { createHash } from 'node:crypto';
import type { TarEntry } from '../tar/index.ts';
import { LayerEntries } from './entries.ts';

/** One thing that differs between two results. */
export interface Difference {
  /** The file of a layer, or the field of a configuration. */
  path: string;
  /** Which attribute: `mtime`, `mode`, `bytes`, … */
  what: string;
  first: string;
  second: string;
}

/** What differs between two layers: how much, and the first of it. */
interface LayerDifference {
  count: number;
  differences: Difference[];
}

/** An entry that waits for its like in the other layer. */
interface Waiting {
  entry: TarEntry;
  digest: string;
}

/** Compares two layers (the paths of their files); the first `most` differences are told. */
export async function compareLayers(first: string, second: string, most: number): Promise<LayerDifference> {
  const sides = [new LayerEntries(first), new LayerEntries(second)] as const;
  const [one, two] = sides;
  const found: LayerDifference = { count: 0, differences: [] };
  const add = (difference: Difference) => {
    found.count++;
    if (found.differences.length < most) found.differences.push(difference);
  };
  const waiting = [new Map<string, Waiting>(), new Map<string, Waiting>()] as const;
  /** Matches an entry with one that the other side had before, or leaves it for later. */
  const settle = async (side: 0 | 1, entry: TarEntry) => {
    const other = waiting[1 - side]?.get(entry.path);
    const mine = { entry, digest: await digestOf(sides[side]) };
    if (other === undefined) {
      waiting[side].set(entry.path, mine);
      return;
    }
    waiting[1 - side]?.delete(entry.path);
    const [a, b] = side === 0 ? [mine, other] : [other, mine];
    for (const each of attributes(a.entry, b.entry)) add(each);
    if (a.digest !== b.digest) add({ path: entry.path, what: 'contents', first: a.digest, second: b.digest });
  };
  try {
    let [a, b] = [await one.next(), await two.next()];
    while (a !== undefined || b !== undefined) {
      if (a !== undefined && a.path === b?.path) {
        for (const each of attributes(a, b)) add(each);
        const differing = await firstByte(one, two);
        if (differing !== undefined) add({ path: a.path, what: 'bytes', ...differing });
        [a, b] = [await one.next(), await two.next()];
        continue;
      }
      const [isA, isB] = [
        a !== undefined && waiting[1].has(a.path),
        b !== undefined && waiting[0].has(b.path),
      ];
      if (a !== undefined && (isA || !isB)) {
        await settle(0, a);
        a = await one.next();
      }
      if (b !== undefined && !isA) {
        await settle(1, b);
        b = await two.next();
      }
    }
    for (const path of waiting[0].keys()) add({ path, what: 'file', first: 'there', second: 'missing' });
    for (const path of waiting[1].keys()) add({ path, what: 'file', first: 'missing', second: 'there' });
    return found;
  } finally {
    await Promise.all(sides.map((side) => side.close()));
  }
}

async function digestOf(entries: LayerEntries): Promise<string> {
  const hash = createHash('sha256');
  for (let chunk = await entries.bytes(); chunk !== undefined; chunk = await entries.bytes())
    hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}

/** The attributes in which two entries of one path differ. */
function attributes(a: TarEntry, b: TarEntry): Difference[] {
  const [first, second] = [told(a), told(b)];
  return Object.keys(first)
    .filter((what) => first[what] !== second[what])
    .map((what) => ({ path: a.path, what, first: first[what] ?? '', second: second[what] ?? '' }));
}

function told(entry: TarEntry): Record<string, string> {
  const xattrs = [...entry.xattrs].map(([name, value]) => `${name}=${value.toString('hex')}`).sort();
  return {
    type: entry.type,
    mode: `0${entry.mode.toString(8)}`,
    owner: `${entry.uid}:${entry.gid}`,
    'owner’s name': `${entry.uname}:${entry.gname}`,
    size: String(entry.size),
    mtime: timeText(entry.mtimeNs),
    link: entry.link ?? '',
    device: `${entry.devmajor}:${entry.devminor}`,
    xattrs: xattrs.join(' '),
  };
}

function timeText(ns: bigint): string {
  const seconds = ns / 1_000_000_000n;
  const rest = (ns % 1_000_000_000n).toString().padStart(9, '0').replace(/0+$/, '');
  const date = new Date(Number(seconds) * 1000);
  const text = Number.isNaN(date.getTime()) ? `${seconds} s` : date.toISOString().slice(0, 19);
  return rest === '' ? text : `${text}.${rest}`;
}

/** How many bytes are shown of either side, from the first that differs. */
const shown = 16;

/** The first byte in which the present entries differ, with those after it; undefined when they are equal. */
async function firstByte(
  one: LayerEntries,
  two: LayerEntries,
): Promise<Pick<Difference, 'first' | 'second'> | undefined> {
  let offset = 0;
  let [a, b] = [await one.bytes(), await two.bytes()];
  while (a !== undefined && b !== undefined) {
    const length = Math.min(a.length, b.length);
    if (a.compare(b, 0, length, 0, length) !== 0) {
      let at = 0;
      while (a[at] === b[at]) at++;
      return { first: bytesText(a, at, offset), second: bytesText(b, at, offset) };
    }
    offset += length;
    a = a.length > length ? a.subarray(length) : await one.bytes();
    b = b.length > length ? b.subarray(length) : await two.bytes();
  }
  if (a === undefined && b === undefined) return undefined;
  const ended = `ends at byte ${offset}`;
  return {
    first: a === undefined ? ended : bytesText(a, 0, offset),
    second: b === undefined ? ended : bytesText(b, 0, offset),
  };
}

function bytesText(chunk: Buffer, at: number, offset: number): string {
  const bytes = chunk.subarray(at, at + shown);
  const text = bytes.toString('latin1').replaceAll(/[^\x20-\x7e]/g, '.');
  return `at byte ${offset + at}: ${bytes.toString('hex')} "${text}"`;
}
