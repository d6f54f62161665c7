/** `type=image`: an image in the store, under its names, and in a registry when asked. */
import { throwIfAborted } from '../errors/index.ts';
import { nameImage, pushImage } from '../images/index.ts';
import { isChunked, packSnapshot } from '../layer/index.ts';
import { parseReference } from '../oci/index.ts';
import type { Store } from '../store/index.ts';
import { needOciTypes, parseAnnotations } from './annotations.ts';
import { attestationOptions } from './attestations.ts';
import { epochOf, type ImageAttrs, notesOf, parseImageAttrs } from './attrs.ts';
import { type Committed, commitImage, imageIdOf, imageMetadata, started, storedOutput } from './commit.ts';
import { imagePlan, isPackedAnyway } from './image-plan.ts';
import { contextOf } from './layers.ts';
import { checkPushNames, pushCommitted } from './push.ts';
import type { Exporter } from './types.ts';

/** Name prefix of images without a name, as docker has it. */
const danglingPrefix = 'moby-dangling';

/** Throws `invalid` for attributes nobody knows. */
export function imageExporter(attrs: Record<string, string>): Exporter {
  const want = parseImageAttrs('image', attrs);
  return {
    title: 'exporting to image',
    packer(store, cache) {
      if (want.rewriteTimestamp || want.squash) return undefined;
      const { compression, blobs } = imagePlan(want, { shared: store.shared, cache });
      const form = { compression, store: blobs === 'none' ? 'hash-only' : 'blob' } as const;
      return async (key, at) => {
        await packSnapshot(store, key, { ...form, ...at });
      };
    },
    async export(request, ctx) {
      const created = epochOf(want.sourceDateEpoch, request.sourceDateEpoch);
      const epoch = want.rewriteTimestamp ? created : undefined;
      if (want.push) checkPushNames(request.names);
      for (const short of notesOf(want, created)) ctx.progress.warn({ level: 1, short, detail: [] });
      const annotations = [...parseAnnotations(request.annotations), ...want.annotations];
      const dockerTypes =
        request.dockerTypes === true && want.compression?.type !== 'zstd' && !isChunked(want.compression);
      // Packing the layers is most of the time of a build that is only stored: for a provenance that nobody has asked
      // for by name, as buildx's own, it is not done.
      const inline = isPackedAnyway(want) ? 'always' : 'never';
      const attestations = attestationOptions(want, { ...request, dockerTypes }, inline);
      const { shared } = ctx.store;
      const attested = attestations !== undefined;
      const { sent, ...plan } = imagePlan(want, { shared, epoch, attested, cache: request.cacheCompression });
      if (want.unpack) await Promise.all(request.results.map(({ ref }) => ref?.snapshot(contextOf(ctx))));
      const committed = await commitImage(request, ctx, {
        ...plan,
        force: want.forceCompression,
        epoch,
        created,
        ociTypes: (want.ociTypes ?? !dockerTypes) || needOciTypes(annotations) || attested,
        attestations,
        keepForeign: want.keepForeign,
        unpacked: want.unpack !== false,
        // An image in a store that others read is whole.
        leavesFetchable: sent && !(shared && want.store),
        annotations,
        madeNow: request.madeNow,
        index: request.index,
        squash: want.squash,
      });
      throwIfAborted(ctx.signal);
      const { target } = committed;
      if (want.store) {
        for (const name of storeNames(request.names, target.digest, want)) {
          const done = started(ctx, `naming to ${name}`);
          if (ctx.forgetsReplaced) await ctx.store.images.put(name, target, undefined, created);
          else await nameImage(ctx.store, name, target, undefined, created);
          done();
        }
      }
      if (want.push) {
        const done = started(ctx, 'pushing layers');
        const sources = new Map(committed.images.flatMap((image) => [...image.sources]));
        const sign = want.sign && (await (await import('./sign.ts')).pushedSigner(want.sign, ctx));
        for (const name of request.names) {
          const registry = want.insecure ? ctx.trusting(name) : ctx.registry;
          const beforeTag = sign && ((ref: string) => sign(registry, ref));
          if (sent) await pushCommitted(committed, name, want.pushByDigest, { ...ctx, registry }, beforeTag);
          else await pushImage(ctx.store, registry, name, name, { ...contextOf(ctx), sources, beforeTag });
          started(ctx, `pushing manifest for ${name}@${target.digest}`)();
        }
        done();
      }
      return {
        metadata: imageMetadata(committed, request.names),
        imageId: imageIdOf(committed),
        descriptor: target,
        documents: committed.documents,
        stored: want.store ? storedOutput(committed, request.names) : undefined,
        size: want.store ? await storedSize(ctx.store, committed) : committed.size,
      };
    },
  };
}

/** The size under which `images` lists it: of the layers' files where they are unpacked, else of their blobs. */
async function storedSize(store: Store, { images }: Committed): Promise<number> {
  const sizes = images.flatMap(({ layers, snapshots }) =>
    layers.map(async ({ size }, i) => {
      const snapshot = snapshots[i];
      return snapshot === undefined ? size : (await store.snapshots.usage(snapshot)).size;
    }),
  );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

/** The names an image gets in the store. */
function storeNames(
  names: readonly string[],
  digest: string,
  want: Pick<ImageAttrs, 'danglingPrefix' | 'danglingAlso' | 'nameCanonical'>,
): string[] {
  const loose = `${want.danglingPrefix ?? danglingPrefix}@${digest}`;
  if (names.length === 0) return [loose];
  const all = want.danglingAlso ? [...names, loose] : [...names];
  if (!want.nameCanonical) return all;
  const canonical = names.map((name) => {
    const { domain, path } = parseReference(name);
    return `${domain}/${path}@${digest}`;
  });
  return [...all, ...canonical];
}
