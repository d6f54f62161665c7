/** Changes the compression of a layer blob. */
import { randomUUID } from 'node:crypto';
import { MessageChannel } from 'node:worker_threads';
import { canceled } from '../errors/index.ts';
import type { Descriptor, Digest } from '../oci/index.ts';
import type { Store } from '../store/index.ts';
import { receiveFromTask, runTask, sendStream } from '../workers/index.ts';
import type { WrittenLayer } from './block-writer.ts';
import { descriptorOf } from './media-types.ts';
import type { Compression, LayerBlob } from './types.ts';

/**
 * Stores the layer `blob` (in content) once more with another compression. The tar inside is the same (`tarId`), so the
 * diff ID stays, but for eStargz, whose table of contents counts. Throws `not-found`, `corrupt`, `canceled`.
 *
 *     const { descriptor } = await convertBlob(store, gzipLayer, { type: 'zstd', level: 3 }, { lease });
 */
export async function convertBlob(
  store: Store,
  blob: Descriptor,
  compression: Compression,
  ctx: { lease: string; signal?: AbortSignal },
): Promise<LayerBlob & { tarId: Digest }> {
  const { content } = store;
  const { signal, lease } = ctx;
  const from = await content.localPath?.(blob.digest);
  const into = content.adopt === undefined ? undefined : await content.ingestPath?.();
  let written: WrittenLayer;
  if (from !== undefined && into !== undefined && content.adopt !== undefined) {
    written = await runTask(
      'layer.convert',
      { source: { path: from }, compression, sink: { path: into } },
      { signal },
    );
    await content.adopt(into, { digest: written.digest, size: written.blobSize }, { lease });
  } else written = await convertStream(store, blob, compression, ctx);
  return {
    descriptor: descriptorOf(compression, written),
    diffId: written.diffId,
    tarId: written.tarId,
    size: written.size,
  };
}

async function convertStream(
  store: Store,
  blob: Descriptor,
  compression: Compression,
  { lease, signal }: { lease: string; signal?: AbortSignal },
): Promise<WrittenLayer> {
  const source = await store.content.read(blob.digest);
  // Two processes may convert the same blob at once.
  const writer = await store.content.writer(`convert-${blob.digest}-${randomUUID()}`, { lease });
  const input = new MessageChannel();
  const output = new MessageChannel();
  const sent = sendStream(input.port1, source, signal);
  try {
    const converting = runTask(
      'layer.convert',
      { source: { port: input.port2 }, compression, sink: { port: output.port2 } },
      { signal, transfer: [input.port2, output.port2], waits: true },
    );
    for await (const chunk of receiveFromTask(output.port1, converting)) {
      if (signal?.aborted) throw canceled(signal.reason);
      await writer.write(chunk);
    }
    const written = await converting;
    await writer.commit();
    return written;
  } catch (err) {
    await writer.abort();
    throw err;
  } finally {
    input.port1.close();
    source.destroy();
    await sent;
  }
}
