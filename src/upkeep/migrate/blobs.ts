/** Copies blobs from one store to another. */
import { DrydockError, throwIfAborted } from '../../errors/index.ts';
import type { Descriptor } from '../../oci/index.ts';
import { type Store, writerInTurn } from '../../store/index.ts';

/** Both ends of a migration, each with a lease that keeps the blobs and snapshots under way. */
export interface MigrationEnds {
  from: Store;
  to: Store;
  leases: { from: string; to: string };
  signal?: AbortSignal;
  /** Hears how many bytes were copied. */
  copied(bytes: number): void;
}

/** Copies a blob unless it is there; `labels` are set in any case. A copy that was interrupted is continued. */
export async function copyBlob(
  route: MigrationEnds,
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
  labels: Record<string, string> = {},
): Promise<void> {
  const { from, to, leases, signal } = route;
  throwIfAborted(signal);
  const expected = { digest, size };
  // Another migration may be copying it.
  const writer = await writerInTurn(
    to,
    `migrate-${digest}`,
    { lease: leases.to, expected, resume: true },
    signal,
  );
  if (writer === undefined) {
    if (Object.keys(labels).length > 0) await to.content.setLabels(digest, labels);
    return;
  }
  try {
    for await (const chunk of await from.content.read(digest, { offset: writer.offset })) {
      throwIfAborted(signal);
      await writer.write(chunk as Buffer);
      route.copied((chunk as Buffer).length);
    }
    await writer.commit(labels);
  } catch (err) {
    await writer.abort(err instanceof DrydockError && err.code === 'canceled').catch(() => {});
    throw err;
  }
  await to.leases.add(leases.to, { type: 'blob', id: digest });
}
