/** Brings one blob, of a repository or of a layout that the client offers, into a file. */
import { addAbortSignal, type Readable } from 'node:stream';
import { fail, offline } from '../errors/index.ts';
import type { Digest } from '../oci/index.ts';
import type { OpContext } from '../solver/index.ts';
import type { SourceDeps } from './deps.ts';
import { save } from './http-fetch.ts';
import { ImageLayout } from './image/layout.ts';

export interface BlobPlace {
  /** The normalized name of a repository's image. For a layout it is not looked at. */
  name: string;
  digest: Digest;
  /** The client's name of the layout that has the blob; undefined: a registry has it. */
  layout?: string;
}

type BlobContext = Pick<OpContext, 'session' | 'signal'> & {
  progress: Pick<OpContext['progress'], 'report'>;
};

/**
 * Streams a blob into a file. Throws `corrupt` when its bytes do not have its digest, and the errors of reading it.
 *
 *     await saveBlob({ name: 'docker.io/library/app', digest }, join(dir, 'body'), deps, ctx);
 */
export async function saveBlob(
  place: BlobPlace,
  file: string,
  deps: Pick<SourceDeps, 'store' | 'registry'>,
  ctx: BlobContext,
): Promise<void> {
  const { digest } = place;
  const { stream, size: total } = await open(place, deps, ctx);
  addAbortSignal(ctx.signal, stream);
  try {
    const saved = await save(stream, file, (current) => ctx.progress.report(digest, { current, total }));
    if (saved.digest !== digest) {
      throw fail('corrupt', 'llb', `the blob ${digest} has the digest ${saved.digest}`);
    }
    ctx.progress.report(digest, { current: saved.size, total: saved.size, done: true });
  } finally {
    stream.destroy();
  }
}

/** The stream of a blob. `size` is 0 where it is not known. */
async function open(
  { name, digest, layout }: BlobPlace,
  { store, registry }: Pick<SourceDeps, 'store' | 'registry'>,
  ctx: BlobContext,
): Promise<{ stream: Readable; size: number }> {
  const { session, signal } = ctx;
  if (layout !== undefined) {
    const report: BlobContext['progress']['report'] = (id, state) => ctx.progress.report(id, state);
    const opened = await ImageLayout.open(store, layout, { session, signal, report });
    return { stream: await opened.stream(digest, signal), size: 0 };
  }
  if (session.offline) throw offline('registry', `the blob ${digest} of ${name} is not here`);
  const access = { signal, credentials: (host: string) => session.credentials(host) };
  const size = await registry.blobSize(name, digest, access);
  return { stream: await registry.blob(name, { digest, size }, { ...access, unverified: true }), size };
}
