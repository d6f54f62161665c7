/**
 * `docker-image+blob://NAME@DIGEST` and `oci-layout+blob://NAME@DIGEST`: one blob, of a repository or of a layout that
 * the client offers, as a file.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fail, throwIfAborted, toDrydockError } from '../errors/index.ts';
import { digestOf, hex, parseReference } from '../oci/index.ts';
import { attrReader, sourceOf } from './attrs.ts';
import { saveBlob } from './blob.ts';
import type { SourceMaker } from './deps.ts';
import { isFileName } from './http-fetch.ts';
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
      return {
        digest: digestOf(`blob ${JSON.stringify([digest, filename, look])}`),
        deps: [],
        // Who knows a digest may be nobody who can get at the blob.
        unnamed: 'things',
        used: { kind: 'blob', ref: name, digest, layout: layout !== undefined },
      };
    },
    async exec(_, ctx) {
      const dir = await fetchFolder(deps, 'blob');
      try {
        await saveBlob({ name, digest, layout }, join(dir, 'body'), deps, ctx);
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
