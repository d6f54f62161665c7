/**
 * The worker task `layer.skeleton`: writes a chunked layer's files into a layer folder by its table of contents,
 * without their contents, and the table of these.
 */
import { canceled } from '../errors/index.ts';
import { openView, type ViewSpec } from '../fs/index.ts';
import { holeValue, holeXattr, LayerTableWriter, type LazyBlob } from '../lazy/index.ts';
import { lsetxattr } from '../linux/index.ts';
import type { TaskContext } from '../workers/index.ts';
import { LayerApplier } from './apply.ts';
import { readToc } from './chunked/read-toc.ts';
import type { PackedToc } from './chunked/toc-place.ts';
import { unpackError } from './unpack-task.ts';

interface SkeletonArgs {
  toc: PackedToc;
  /** The layer's own folder, and the tree below it. */
  dir: string;
  lower: ViewSpec;
  /** The folder for the table, which does not exist yet. */
  table: string;
  blob: Omit<LazyBlob, 'compression'>;
}

/** The file of an eStargz layer behind those that are to be fetched ahead (stargz-snapshotter, docs/estargz.md). */
const landmark = '.prefetch.landmark';

/** Where in the blob the files end that a layer asks for ahead; undefined when it asks for none. */
export function prefetchEnd(entries: ReturnType<typeof readToc>): number | undefined {
  return entries.find(({ entry }) => entry.path.replace(/^\.?\//, '') === landmark)?.chunks[0]?.at;
}

/** Returns the number of entries. Throws as `readToc` and the unpacking of a layer do. */
export function writeSkeleton({ toc, dir, lower, table, blob }: SkeletonArgs, ctx: TaskContext): number {
  // Bytes from another thread are no Buffer any more.
  const entries = readToc({ ...toc, bytes: Buffer.from(toc.bytes) });
  const writer = new LayerTableWriter();
  const xattr = holeXattr();
  const files = new LayerApplier(dir, {
    form: 'overlay',
    lower: lower.kind === 'empty' ? undefined : openView(lower),
  });
  try {
    for (const { entry, chunks } of entries) {
      if (ctx.aborted()) throw canceled();
      // A sparse file without regions is one hole.
      files.entry(entry.type === 'file' ? { ...entry, sparse: [] } : entry);
      files.end();
      // A whiteout may have contents too, of which nothing comes.
      const file = files.lastFile;
      if (file !== undefined && chunks.length > 0)
        lsetxattr(file, xattr, holeValue(writer.add(chunks), chunks));
    }
    files.finish();
  } catch (err) {
    throw unpackError(err);
  } finally {
    files.abort();
  }
  writer.write(table, { ...blob, compression: toc.compression, prefetch: prefetchEnd(entries) });
  return entries.length;
}
