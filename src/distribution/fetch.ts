/** Fetches a registry's blobs into a store's content. */
import { canceled, DrydockError, errnoCode, fail, offline } from '../errors/index.ts';
import { type CredentialSource, type Descriptor, familiarName, parseReference } from '../oci/index.ts';
import type { ReportStatus } from '../progress/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import { type ContentWriter, hold, type Store, writerInTurn } from '../store/index.ts';
import { sourceLabels } from './known-names.ts';

/** The circumstances of fetching: the lease for blobs, credentials, progress and the caller's signal. */
export interface FetchContext {
  lease: string;
  signal?: AbortSignal;
  report?: ReportStatus;
  credentials?: CredentialSource;
  /** Nobody may be asked: what is not here is an error (`unavailable`). */
  offline?: boolean;
}

/**
 * Makes sure that a blob of `source` (an image reference) is in content and under the lease. The download continues
 * where an earlier try stopped; a blob is fetched once, however many callers in this process and others ask for it.
 * Reports bytes under the blob's digest. Throws the registry's errors, and `corrupt` when the bytes have another
 * digest.
 *
 *     await fetchBlobInto(store, client, 'docker.io/library/alpine:3', layer, { lease, signal });
 */
export async function fetchBlobInto(
  store: Store,
  client: RegistryClient,
  source: string,
  blob: Descriptor,
  ctx: FetchContext,
): Promise<void> {
  const thing = { type: 'blob', id: blob.digest } as const;
  if (await hold(store, ctx.lease, thing)) return;
  if (ctx.offline)
    throw offline('registry', `the layer ${blob.digest} of ${familiarName(source)} is not here`);
  const { fetching, fetches } = store.work;
  await fetching.run(blob.digest, ctx.signal, () =>
    fetches.run(() => fetchOnce(store, client, source, blob, ctx), ctx.signal),
  );
  await hold(store, ctx.lease, thing);
}

async function fetchOnce(
  store: Store,
  client: RegistryClient,
  source: string,
  blob: Descriptor,
  ctx: FetchContext,
): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const writer = await writerInTurn(
      store,
      `pull-${blob.digest}`,
      { lease: ctx.lease, expected: { digest: blob.digest, size: blob.size }, resume: true },
      ctx.signal,
      () => report(blob, ctx, 0),
    );
    if (writer === undefined) return report(blob, ctx, blob.size, true);
    const { offset } = writer;
    try {
      await copy(client, source, blob, writer, ctx);
      return report(blob, ctx, blob.size, true);
    } catch (err) {
      // Bytes of an earlier try may be wrong, so the blob is fetched once more from the beginning.
      const again = offset > 0 && attempt === 0 && err instanceof DrydockError && err.code === 'corrupt';
      if (!again) throw err;
    }
  }
}

function report(blob: Descriptor, ctx: FetchContext, current: number, done = false): void {
  ctx.report?.(blob.digest, { current, total: blob.size, done });
}

async function copy(
  client: RegistryClient,
  source: string,
  blob: Descriptor,
  writer: ContentWriter,
  ctx: FetchContext,
): Promise<void> {
  let current = writer.offset;
  report(blob, ctx, current);
  try {
    if (current < blob.size || blob.size === 0) {
      const { signal, credentials } = ctx;
      const stream = await client.blob(source, blob, {
        offset: current,
        unverified: true,
        signal,
        credentials,
      });
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        await writer.write(chunk);
        current += chunk.length;
        report(blob, ctx, current);
      }
    }
  } catch (err) {
    const code = err instanceof DrydockError ? err.code : errnoCode(err);
    await writer.abort(code === 'unavailable' || code === 'canceled' || ctx.signal?.aborted === true);
    throw ctx.signal?.aborted ? canceled(ctx.signal.reason) : err;
  }
  try {
    await writer.commit(sourceLabels(source));
  } catch (err) {
    if (!(err instanceof DrydockError) || err.code !== 'corrupt') throw err;
    const { domain } = parseReference(source);
    throw fail('corrupt', 'registry', `pulling ${blob.digest}: what ${domain} sent is something else`, {
      hint: 'The registry or a proxy on the way changed it; try again, or tell who runs it.',
      details: { registry: domain, digest: blob.digest },
      cause: err,
    });
  }
}
