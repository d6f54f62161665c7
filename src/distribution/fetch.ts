/** A registry's blobs into a store's content. */
import { canceled, DrydockError, errnoCode, fail } from '../errors/error.ts';
import { pause } from '../flow/pause.ts';
import type { CredentialSource } from '../oci/credentials.ts';
import { parseReference } from '../oci/reference.ts';
import type { Descriptor } from '../oci/types.ts';
import type { ReportStatus } from '../progress/events.ts';
import type { RegistryClient } from '../registry/client.ts';
import type { ContentWriter, Store } from '../store/store.ts';
import { sourceLabels } from './known-names.ts';

export interface FetchContext {
  lease: string;
  signal?: AbortSignal;
  report?: ReportStatus;
  credentials?: CredentialSource;
}

/**
 * Makes sure that a blob of `source` (an image reference) is in content and held by the lease. What an earlier try
 * left is gone on from; a blob is fetched once, however many ask for it, in this process and others. Reports bytes
 * under the blob's digest. Throws the registry's errors, and `corrupt` when the bytes are not what their digest says.
 */
export async function fetchBlobInto(
  store: Store,
  client: RegistryClient,
  source: string,
  blob: Descriptor,
  ctx: FetchContext,
): Promise<void> {
  if (await held(store, blob, ctx)) return;
  const { fetching, fetches } = store.work;
  await fetching.run(blob.digest, ctx.signal, () =>
    fetches.run(() => fetchOnce(store, client, source, blob, ctx), ctx.signal),
  );
  await held(store, blob, ctx);
}

/** Adds a blob that is there to the lease. */
async function held(store: Store, blob: Descriptor, ctx: FetchContext): Promise<boolean> {
  try {
    await store.leases.add(ctx.lease, { type: 'blob', id: blob.digest });
    return true;
  } catch (err) {
    // A lease that is not there is a mistake, not a miss.
    if (err instanceof DrydockError && err.code === 'not-found') {
      return (await store.content.info(blob.digest)) !== undefined ? Promise.reject(err) : false;
    }
    throw err;
  }
}

async function fetchOnce(
  store: Store,
  client: RegistryClient,
  source: string,
  blob: Descriptor,
  ctx: FetchContext,
): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const writer = await openWriter(store, blob, ctx);
    if (writer === undefined) return report(blob, ctx, blob.size, true);
    const { offset } = writer;
    try {
      await copy(client, source, blob, writer, ctx);
      return report(blob, ctx, blob.size, true);
    } catch (err) {
      // Bytes of an earlier try may be at fault: once more, from the beginning.
      const again = offset > 0 && attempt === 0 && err instanceof DrydockError && err.code === 'corrupt';
      if (!again) throw err;
    }
  }
}

function report(blob: Descriptor, ctx: FetchContext, current: number, done = false): void {
  ctx.report?.(blob.digest, { current, total: blob.size, done });
}

/** The ingest of this blob, once no other process writes it; undefined when the blob is there. */
async function openWriter(
  store: Store,
  blob: Descriptor,
  ctx: FetchContext,
): Promise<ContentWriter | undefined> {
  const expected = { digest: blob.digest, size: blob.size };
  for (;;) {
    try {
      return await store.content.writer(`pull-${blob.digest}`, { lease: ctx.lease, expected, resume: true });
    } catch (err) {
      if (!(err instanceof DrydockError)) throw err;
      if (err.code === 'exists') return undefined;
      if (err.code !== 'conflict') throw err;
    }
    report(blob, ctx, 0);
    await pause(150, ctx.signal);
  }
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
