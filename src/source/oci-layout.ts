/** `oci-layout://NAME@DIGEST`: an image of an OCI layout folder that the client offers. */
import { type ImageDocuments, layersOf, readDocuments } from '../distribution/index.ts';
import { type Digest, parseReference } from '../oci/index.ts';
import { type OpContext, refContext } from '../solver/index.ts';
import { attrReader, sourceOf } from './attrs.ts';
import type { SourceMaker } from './deps.ts';
import { ImageLayout, type LayoutContext } from './image/layout.ts';
import { imageCacheMap, vertexPlatform } from './image.ts';

export const ociLayoutSource: SourceMaker = (vertex, deps) => {
  const { store, refs } = deps;
  const { identifier, attrs } = sourceOf(vertex);
  const name = identifier.slice('oci-layout://'.length);
  const ref = parseReference(name);
  const read = attrReader(attrs, identifier);
  const storeName =
    read.text('oci.store') ?? (ref.domain === 'docker.io' ? ref.path.replace(/^library\//, '') : ref.path);
  const limit = read.number('oci.layerlimit');
  read.skip('oci.session');
  read.done();
  const platform = vertexPlatform(vertex);
  const contextOf = (ctx: OpContext): LayoutContext => ({
    session: ctx.session,
    signal: ctx.signal,
    report: (id, state) => ctx.progress.report(id, state),
  });
  let resolved: Promise<{ layout: ImageLayout; digest: Digest; documents: ImageDocuments }> | undefined;
  const resolve = (ctx: OpContext) => {
    resolved ??= (async () => {
      const layout = await ImageLayout.open(store, storeName, contextOf(ctx));
      const target = await layout.target(ref);
      const documents = await readDocuments(store, layout, target, platform, ctx.lease);
      return { layout, digest: target.digest, documents };
    })();
    resolved.catch(() => {
      resolved = undefined;
    });
    return resolved;
  };
  const layersFrom = ({ document, config }: ImageDocuments) => layersOf(document, config).slice(0, limit);
  return {
    async cacheMap(ctx) {
      const { digest, documents } = await resolve(ctx);
      const used = { kind: 'image', ref: name, digest, platform, layout: true } as const;
      return { ...imageCacheMap(layersFrom(documents)), used };
    },
    async exec(_, ctx) {
      const { layout, documents } = await resolve(ctx);
      const layers = layersFrom(documents);
      for (const { descriptor } of layers) {
        await layout.copyInto(store, descriptor, ctx.lease, contextOf(ctx));
      }
      if (layers.length === 0) return [refs.empty()];
      // Unpacked now: the client's folder may be gone when the tree is next needed.
      const key = await refs.image(name, layers).snapshot(refContext(ctx));
      return [refs.snapshot(key)];
    },
  };
};
