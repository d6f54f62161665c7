import { type TarLimits, TarParser } from '../../src/tar/parser.ts';
import type { TarEntry } from '../../src/tar/types.ts';

export interface ReadEntry extends TarEntry {
  body: Buffer;
}

/** Reads a whole small archive, pushed in portions of `step` bytes. */
export function readTar(archive: Uint8Array, step = 64 * 1024, limits: TarLimits = {}): ReadEntry[] {
  const entries: ReadEntry[] = [];
  let parts: Buffer[] = [];
  const parser = new TarParser(
    {
      entry: (entry) => {
        entries.push({ ...entry, body: Buffer.alloc(0) });
        parts = [];
      },
      data: (chunk) => parts.push(Buffer.from(chunk)),
      end: () => {
        entries.at(-1)!.body = Buffer.concat(parts);
      },
    },
    limits,
  );
  for (let at = 0; at < archive.length; at += step) parser.push(archive.subarray(at, at + step));
  parser.finish();
  return entries;
}

/** The whole content of a sparse entry, holes filled. */
export function expand(entry: ReadEntry): Buffer {
  if (entry.sparse === undefined) return entry.body;
  const whole = Buffer.alloc(entry.size);
  let at = 0;
  for (const { offset, length } of entry.sparse) {
    entry.body.copy(whole, offset, at, at + length);
    at += length;
  }
  return whole;
}
