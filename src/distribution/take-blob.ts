/** Copies a blob from a place that is no registry into content. */
import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import { canceled } from '../errors/index.ts';
import type { Descriptor } from '../oci/index.ts';
import { type RefContext, type Store, unlessThere } from '../store/index.ts';

/**
 * Copies a blob, checked, under the lease; a blob that is there already is not read. Reports progress under its digest.
 * Throws the errors of opening and reading it, `corrupt` when the bytes have another digest, and `canceled`.
 *
 *     await takeBlob(store, layer, (signal) => clientContent.read(layer.digest, { signal }), { lease });
 */
export async function takeBlob(
  store: Store,
  blob: Descriptor,
  open: (signal: AbortSignal | undefined) => Promise<Readable>,
  { lease, signal, report }: Pick<RefContext, 'lease' | 'signal' | 'report'>,
): Promise<void> {
  const expected = { digest: blob.digest, size: blob.size };
  const ref = `take-${blob.digest}-${randomUUID()}`;
  const writer = await unlessThere(store.content.writer(ref, { lease, expected }));
  if (writer === undefined) return;
  try {
    let current = 0;
    for await (const chunk of await open(signal)) {
      await writer.write(chunk as Buffer);
      current += (chunk as Buffer).length;
      report?.(blob.digest, { current, total: blob.size });
    }
    await writer.commit();
    report?.(blob.digest, { current, total: blob.size, done: true });
  } catch (err) {
    await writer.abort();
    throw signal?.aborted ? canceled(signal.reason) : err;
  }
}
