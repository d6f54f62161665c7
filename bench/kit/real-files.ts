/** Folders of real files: those of this machine's /usr, programs, libraries, texts and all. */
import {
  copyFileSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fresh } from '../bench.ts';

/** The files of at most `largest` bytes and the links below a folder, in the order of their names. */
function* walk(folder: string, largest: number): Generator<{ path: string; size: number; isLink: boolean }> {
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    const stat = lstatSync(path);
    if (stat.isDirectory()) yield* walk(path, largest);
    else if (stat.isSymbolicLink()) yield { path, size: 0, isLink: true };
    else if (stat.isFile() && stat.size <= largest) yield { path, size: stat.size, isLink: false };
  }
}

/**
 * Makes a context whose Dockerfile copies `bytes` of real files in `layers` layers of about the same size. What /usr
 * has is taken again, under other names, when more is wanted.
 */
export function realImage(
  folder: string,
  base: string,
  { bytes, layers }: { bytes: number; layers: number },
): string {
  const context = fresh(join(folder, 'real-files'));
  let total = 0;
  for (let round = 0; total < bytes; round++) {
    const before = total;
    for (const { path, size, isLink } of walk('/usr', bytes / layers / 4)) {
      const layer = Math.min(layers - 1, Math.floor((total * layers) / bytes));
      const to = join(context, `l${layer}`, `r${round}`, path);
      mkdirSync(dirname(to), { recursive: true });
      if (isLink) symlinkSync(readlinkSync(path), to);
      else copyFileSync(path, to);
      total += size;
      if (total >= bytes) break;
    }
    if (total === before) throw new Error('there are no files in /usr');
  }
  const copies = Array.from({ length: layers }, (_, i) => `COPY l${i} /l${i}`);
  writeFileSync(join(context, 'Dockerfile'), [`FROM ${base}`, ...copies, ''].join('\n'));
  return context;
}
