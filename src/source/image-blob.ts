/**
 * `docker-image+blob://NAME@DIGEST` and `oci-layout+blob://NAME@DIGEST`: one blob of a repository, or of a layout that
 * the client offers, as a file.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { addAbortSignal } from 'node:stream';
import { fail, throwIfAborted, toDrydockError } from '../errors/error.ts';
import { digestOf, hex } from '../oci/digest.ts';
import { parseReference } from '../oci/reference.ts';
import type { Digest } from '../oci/types.ts';
import type { OpContext } from '../solver/types.ts';
import { attrReader, sourceOf } from './attrs.ts';
import type { SourceDeps, SourceMaker } from './deps.ts';
import { isFileName, save } from './http-fetch.ts';
import { Layout } from './image/layout.ts';
import { fetchFolder, fileTree, readFileLook } from './single-file.ts';

export const imageBlobSource: SourceMaker = (vertex, deps) => {
  const { identifier, attrs } = sourceOf(vertex);
  const [scheme = '', name = ''] = identifier.split('://', 2);
  const ref = parseReference(name);
  const { digest, tag } = ref;
  if (digest === undefined || tag !== undefined) {
    throw fail('invalid', 'llb', `${identifier}: a blob is named by a digest and no tag`);
  }
  const read = attrReader(attrs, identifier);
  const filename = read.text('http.filename') ?? hex(digest);
  if (!isFileName(filename)) {
    throw fail('invalid', 'llb', `invalid http.filename ${JSON.stringify(filename)}`);
  }
  const look = readFileLook(read);
  const layout = scheme === 'oci-layout+blob' ? read.text('oci.store') : undefined;
  if (scheme === 'oci-layout+blob' && layout === undefined) {
    throw fail('invalid', 'llb', `${identifier}: an oci-layout blob needs the attribute oci.store`);
  }
  // Whose layout it is, the session says; what a result is kept as is for the exporters of others.
  read.skip('oci.session', 'image.recordtype');
  read.done();
  return {
    async cacheMap() {
      return { digest: digestOf(`blob ${JSON.stringify([digest, filename, look])}`), deps: [] };
    },
    async exec(_, ctx) {
      const dir = await fetchFolder(deps, 'blob');
      try {
        const { stream, size } =
          layout === undefined
            ? await ofRegistry(name, digest, deps, ctx)
            : await ofLayout(layout, digest, deps, ctx);
        await fetch(stream, join(dir, 'body'), { digest, size }, ctx);
        return [await fileTree(deps, dir, { ...look, kind: 'blob', name: filename, modified: 0 }, ctx)];
      } catch (err) {
        throwIfAborted(ctx.signal);
        throw toDrydockError(err, layout === undefined ? 'registry' : 'session');
      } finally {
        await rm(dir, { recursive: true, force: true });
      }
    },
  };
};

async function ofRegistry(name: string, digest: Digest, { registry }: SourceDeps, ctx: OpContext) {
  const access = { signal: ctx.signal, credentials: (host: string) => ctx.session.credentials(host) };
  const size = await registry.blobSize(name, digest, access);
  return { stream: await registry.blob(name, { digest, size }, { ...access, unverified: true }), size };
}

async function ofLayout(name: string, digest: Digest, { store }: SourceDeps, ctx: OpContext) {
  const layout = await Layout.open(store, name, {
    session: ctx.session,
    signal: ctx.signal,
    report: (id, state) => ctx.progress.report(id, state),
  });
  return { stream: await layout.stream(digest, ctx.signal), size: 0 };
}

/** Streams a blob into a file. Throws `corrupt` when it is not what its digest says. */
async function fetch(
  stream: Readable,
  file: string,
  { digest, size }: { digest: Digest; size: number },
  ctx: OpContext,
): Promise<void> {
  addAbortSignal(ctx.signal, stream);
  try {
    const saved = await save(stream, file, (current) =>
      ctx.progress.report(digest, { current, total: size }),
    );
    if (saved.digest !== digest) {
      throw fail('corrupt', 'llb', `the blob ${digest} has the digest ${saved.digest}`);
    }
    ctx.progress.report(digest, { current: saved.size, total: saved.size, done: true });
  } finally {
    stream.destroy();
  }
}
