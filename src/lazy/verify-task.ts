/** The worker task `lazy.verify`: checks the contents of a lazy layer that were fetched. */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { readAll } from '../linux/index.ts';
import { LayerTable } from './layer-table.ts';
import { isIntact } from './unpack-chunk.ts';

/** How many chunks were fetched, and how many of those did not hold: they are forgotten, and come again when they are read. */
interface LazyCheck {
  fetched: number;
  forgotten: number;
}

/** Checks the layer whose folder `lazy` this is. Throws `corrupt` for a damaged table. */
export function verifyContents({ folder }: { folder: string }): LazyCheck {
  const table = new LayerTable(folder);
  const have = openSync(join(folder, 'have'), 'r+');
  const data = openSync(join(folder, 'data'), 'r');
  const found: LazyCheck = { fetched: 0, forgotten: 0 };
  try {
    const noted = Buffer.alloc(table.chunkCount);
    readSync(have, noted, 0, noted.length, 0);
    for (const [i, isHere] of noted.entries()) {
      if (isHere !== 1) continue;
      found.fetched++;
      const chunk = table.chunk(i);
      const bytes = Buffer.allocUnsafe(chunk.size);
      if (readAll(data, bytes, chunk.place) === chunk.size && isIntact(bytes, chunk)) continue;
      found.forgotten++;
      writeSync(have, Buffer.alloc(1), 0, 1, i);
    }
    return found;
  } finally {
    closeSync(data);
    closeSync(have);
  }
}
