/** The export of a cache to a shelf. */
import { Readable } from 'node:stream';
import type { ExportContext } from '../../exporter/index.ts';
import { inParallel } from '../../flow/index.ts';
import type { KeptBlob } from '../keeping/rule.ts';
import type { BareTarget } from '../targets.ts';
import type { CacheShelf } from './shelf.ts';

/** A layer that is there already is neither packed, fetched nor sent. */
export function shelfTarget(shelf: CacheShelf, { store, signal, progress }: ExportContext): BareTarget {
  const { keeping } = shelf;
  /** The layers that were there already. */
  const there: SentLayer[] = [];
  const send = async ({ descriptor, bring }: SentLayer): Promise<void> => {
    await bring();
    const { digest, size } = descriptor;
    const open = (start: number, end: number) =>
      store.content.read(digest, { offset: start, length: end - start });
    const onProgress = (sent: number) =>
      progress.report(digest, { current: sent, total: size, done: sent === size });
    await shelf.put(descriptor, { size, open }, { signal, onProgress });
  };
  return {
    has: (blob) => shelf.keeps(blob, { signal }),
    async layer(layer) {
      if (await shelf.keeps(layer.descriptor, { signal })) there.push(layer);
      else await send(layer);
    },
    async document(blob, bytes) {
      if (await shelf.keeps(blob, { signal })) return;
      const open = async (start: number, end: number) =>
        Readable.from([bytes.subarray(start, end)], { objectMode: false });
      await shelf.put(blob, { size: bytes.length, open }, { signal });
    },
    async bare(config, named) {
      await shelf.finish(config, { signal });
      if (keeping === undefined) return;
      await keeping.file(config, named, { signal });
      // Another writer may have begun to remove a layer before it could know of this export.
      await inParallel(there, async (layer) => {
        if (!(await shelf.has(layer.descriptor, { signal }))) await send(layer);
      });
    },
    ...(keeping && {
      announce: (blobs: readonly KeptBlob[]) => keeping.announce(blobs, { signal }),
      tidy: () => keeping.sweep({ signal }),
    }),
  };
}

type SentLayer = Parameters<BareTarget['layer']>[0];
