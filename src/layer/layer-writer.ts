/** The writer of a layer's blob, by the compression. */
import { type BlockSink, BlockWriter, type LayerWriter } from './block-writer.ts';
import { ChunkedWriter } from './chunked/chunked-writer.ts';
import type { Compression } from './types.ts';

/** Makes the writer. Without a sink the bytes are only hashed. */
export function layerWriter({ type, level, early }: Compression, sink: BlockSink | undefined): LayerWriter {
  return type === 'estargz' || type === 'zstdchunked'
    ? new ChunkedWriter({ type, level }, sink)
    : new BlockWriter({ type, level, early }, sink);
}
