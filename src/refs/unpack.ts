/**
 * Turns an image's layers into a committed snapshot. Missing blobs are fetched side by side, and unpacked side by side as
 * they come; each gets into its place as soon as the one below is there.
 */
import { createHash, randomUUID } from 'node:crypto';
import { fetchBlobInto, originLabels } from '../distribution/index.ts';
import { DrydockError, fail, throwIfAborted } from '../errors/index.ts';
import { orAbort } from '../flow/index.ts';
import { hasToc, makeLazyLayer, type PackedToc, unpackLayer } from '../layer/index.ts';
import { type Descriptor, type Digest, familiarName, hex, normalizeName } from '../oci/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import {
  holdChain,
  madeByLabel,
  type RefContext,
  type Store,
  snapshotLabels,
  unlessThere,
} from '../store/index.ts';
import { Ahead } from './ahead.ts';
import { lazyTocs } from './lazy-tocs.ts';

/** A layer of an image. */
interface Layer {
  descriptor: Descriptor;
  diffId: Digest;
  madeAt?: number;
  madeBy?: string;
  /** Has it, if it was unpacked already. */
  ahead?: Ahead;
  /** Its table of contents, if it is to be a lazy layer. */
  toc?: PackedToc;
}

/**
 * Returns the key of the snapshot of the whole stack, making the snapshots that are missing. `chains[i]` is the chain
 * ID up to layer i; a snapshot's key is its chain ID. Reports `sha256:…` while fetching and `extracting sha256:…` while
 * unpacking. Throws the registry's errors, and `corrupt` when a layer's contents differ from its config's.
 *
 *     await materialize(store, client, 'docker.io/library/alpine:3', layers, chainIds(diffIds), { lease });
 */
export async function materialize(
  store: Store,
  client: RegistryClient,
  source: string | undefined,
  layers: readonly Layer[],
  chains: readonly Digest[],
  ctx: RefContext,
): Promise<string> {
  throwIfAborted(ctx.signal);
  const top = chains.at(-1) as Digest;
  const known = await holdChain(store, ctx.lease, top);
  if (known !== undefined) {
    await labelForeign(store, source, layers, chains);
    return known;
  }
  // A caller that waited for another's run has its result under that one's lease only, so it looks again under its own.
  const key = await store.work.stacking.run(top, ctx.signal, () =>
    unpackMissing(store, client, source, layers, chains, ctx),
  );
  await store.leases.add(ctx.lease, { type: 'snapshot', id: key });
  return key;
}

/**
 * Labels snapshots that other programs unpacked into a containerd, which lack our labels, with the facts that their
 * image tells. A build on them then keeps the image's own layers.
 */
async function labelForeign(
  store: Store,
  source: string | undefined,
  layers: readonly Layer[],
  chains: readonly Digest[],
): Promise<void> {
  if (!store.shared) return;
  for (const [i, { descriptor, diffId }] of [...layers.entries()].reverse()) {
    const info = await store.snapshots.byChain(chains[i] as Digest);
    if (info === undefined || info.labels[snapshotLabels.diffId] !== undefined) return;
    await store.snapshots.setLabels(info.key, {
      [snapshotLabels.diffId]: diffId,
      [snapshotLabels.chainId]: chains[i],
      ...originLabels({ blob: descriptor, from: source }),
    });
  }
}

async function unpackMissing(
  store: Store,
  client: RegistryClient,
  source: string | undefined,
  layers: readonly Layer[],
  chains: readonly Digest[],
  ctx: RefContext,
): Promise<string> {
  let parent: string | undefined;
  let first = layers.length;
  for (; first > 0; first--) {
    parent = await holdChain(store, ctx.lease, chains[first - 1] as Digest);
    if (parent !== undefined) break;
  }
  await labelForeign(store, source, layers.slice(0, first), chains);
  ({ first, parent } = await takeServed(store, source, layers, chains, { first, parent }, ctx));
  // The failure of one layer ends the fetching of the others.
  const stop = new AbortController();
  const signal = ctx.signal === undefined ? stop.signal : AbortSignal.any([ctx.signal, stop.signal]);
  const tocs = await lazyTocs(store, client, source, layers, first, { ...ctx, signal });
  const fetches = layers.map(({ descriptor }, i) =>
    i < first || source === undefined || tocs[i] !== undefined
      ? undefined
      : fetchBlobInto(store, client, source, descriptor, { ...ctx, signal }),
  );
  for (const fetching of fetches) fetching?.catch(() => {});
  const ahead = new Ahead(store, { ...ctx, signal });
  try {
    // A fetch that fails must be noticed while another layer is still being unpacked.
    const failed = Promise.withResolvers<never>();
    failed.promise.catch(() => {});
    for (const fetching of fetches) fetching?.catch((err) => failed.reject(err));
    // The lowest one is unpacked in its place.
    for (let i = first + 1; i < layers.length; i++) {
      if (tocs[i] === undefined)
        ahead.begin(chains[i] as Digest, (layers[i] as Layer).descriptor, fetches[i]);
    }
    for (let i = first; i < layers.length; i++) {
      const layer = { ...(layers[i] as Layer), toc: tocs[i] };
      const below = parent;
      await Promise.race([fetches[i], failed.promise]);
      const work = () =>
        unpackOne(store, client, source, { ...layer, ahead }, below, chains[i] as Digest, { ...ctx, signal });
      // Another image with the same lower layers may be doing the same work; the top layer is ours already.
      parent =
        i === layers.length - 1
          ? await work()
          : await store.work.stacking.run(chains[i] as Digest, signal, work);
      if (i < layers.length - 1) await store.leases.add(ctx.lease, { type: 'snapshot', id: parent });
    }
    return parent as string;
  } catch (err) {
    stop.abort(err);
    await Promise.allSettled(fetches);
    await tellDamage(store, source, err);
    throw err;
  } finally {
    await ahead.close();
  }
}

/**
 * Adds to an error about a missing layer, of an image that is in the store but in no registry, that the store is
 * damaged.
 */
async function tellDamage(store: Store, source: string | undefined, err: unknown): Promise<void> {
  if (source === undefined || !(err instanceof DrydockError)) return;
  if (err.hop !== 'registry' || err.code === 'canceled') return;
  const name = normalizeName(source);
  if ((await store.images.get(name)) === undefined) return;
  err.hint =
    `The store has ${familiarName(name)}, but a layer of it is gone or damaged, and its registry does not give it: ` +
    'pull, load or build the image again.';
}

/** Unpacks a layer. A blob that turns out to be damaged in the store is fetched once more. */
async function unpackOne(
  store: Store,
  client: RegistryClient,
  source: string | undefined,
  layer: Layer,
  parent: string | undefined,
  chain: Digest,
  ctx: RefContext,
): Promise<string> {
  try {
    return await unpackNow(store, source, layer, parent, chain, ctx);
  } catch (err) {
    if (source !== undefined && layer.toc !== undefined) {
      if (!(err instanceof DrydockError) || err.code !== 'unsupported') throw err;
      await fetchBlobInto(store, client, source, layer.descriptor, ctx);
      return unpackNow(store, source, { ...layer, toc: undefined }, parent, chain, ctx);
    }
    if (source === undefined || !(err instanceof DrydockError) || err.code !== 'corrupt') throw err;
    if (await hasItsDigest(store, layer.descriptor.digest)) throw err;
    await store.content.delete(layer.descriptor.digest).catch(() => {});
    await fetchBlobInto(store, client, source, layer.descriptor, ctx);
    return unpackNow(store, source, layer, parent, chain, ctx);
  }
}

async function hasItsDigest(store: Store, digest: Digest): Promise<boolean> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of await store.content.read(digest)) hash.update(chunk as Buffer);
  } catch {
    return false; // its file is gone or short
  }
  return `sha256:${hash.digest('hex')}` === digest;
}

async function unpackNow(
  store: Store,
  source: string | undefined,
  layer: Layer,
  parent: string | undefined,
  chain: Digest,
  ctx: RefContext,
): Promise<string> {
  const existing = await holdChain(store, ctx.lease, chain);
  if (existing !== undefined) return existing;
  await unlessThere(makeSnapshot(store, source, layer, parent, chain, ctx));
  return chain;
}

/**
 * Unpacks a layer into a new snapshot. Leaves nothing behind when it throws; it throws `exists` when another was
 * faster.
 */
async function makeSnapshot(
  store: Store,
  source: string | undefined,
  { descriptor, diffId, madeAt, madeBy, ahead, toc }: Layer,
  parent: string | undefined,
  chain: Digest,
  ctx: RefContext,
): Promise<void> {
  const { snapshots } = store;
  const unpacked = await ahead?.take(chain);
  const active = `unpack-${hex(chain).slice(0, 16)}-${randomUUID()}`;
  const mounts = await snapshots.prepare(active, parent, { lease: ctx.lease });
  try {
    if (unpacked?.diffId === diffId) unpacked.move(mounts);
    else if (toc !== undefined && source !== undefined) {
      await makeLazyLayer(store, { key: active, mounts, toc }, { source, blob: descriptor }, ctx);
    }
    // The diff ID of a lazy layer is known when all of it has been read, which may be never: its manifest vouches for it.
    const isThere = unpacked?.diffId === diffId || toc !== undefined;
    const result = isThere ? { diffId } : await unpackLayer(store, mounts, descriptor, ctx);
    if (result.diffId !== diffId) {
      throw fail(
        'corrupt',
        'registry',
        `the layer ${descriptor.digest} unpacks to ${result.diffId}, but its image's config says ${diffId}`,
        {
          hint: 'The image was put together wrongly; tell who publishes it.',
        },
      );
    }
    const labels = labelsOf({ descriptor, diffId, madeAt, madeBy, toc }, source, chain);
    await orAbort(snapshots.commit(chain, active, { lease: ctx.lease, labels }), ctx.signal);
  } catch (err) {
    await snapshots.remove(active).catch(() => {});
    throw err;
  }
}

/** The labels of a layer's snapshot. */
function labelsOf(
  { descriptor, diffId, madeAt, madeBy, toc }: Layer,
  source: string | undefined,
  chain: Digest,
): Record<string, string> {
  return {
    [snapshotLabels.diffId]: diffId,
    [snapshotLabels.chainId]: chain,
    ...originLabels({ blob: descriptor, from: source }),
    ...(toc === undefined ? {} : { [snapshotLabels.lazy]: 'true' }),
    ...(madeAt === undefined ? {} : { [snapshotLabels.madeAt]: String(madeAt) }),
    ...madeByLabel(madeBy),
  };
}

/** The first layer that is not in its place yet, and the snapshot below it. */
interface Place {
  first: number;
  parent: string | undefined;
}

/** Has the store's snapshotter serve as many of the layers from a place on as it does, one after the other. */
async function takeServed(
  store: Store,
  source: string | undefined,
  layers: readonly Layer[],
  chains: readonly Digest[],
  { first, parent }: Place,
  ctx: RefContext,
): Promise<Place> {
  const { snapshots } = store;
  if (snapshots.remote === undefined || source === undefined) return { first, parent };
  if (ctx.mayBeLazy !== true || ctx.offline === true) return { first, parent };
  for (; first < layers.length; first++) {
    throwIfAborted(ctx.signal);
    const layer = layers[first] as Layer;
    const chain = chains[first] as Digest;
    if (!hasToc(layer.descriptor)) break;
    const above = layers.slice(first + 1).map(({ descriptor }) => descriptor.digest);
    const served = await snapshots.remote(
      chain,
      parent,
      { source, blob: layer.descriptor, above },
      { lease: ctx.lease, labels: { ...labelsOf(layer, source, chain), [snapshotLabels.lazy]: 'true' } },
    );
    if (!served) break;
    parent = chain;
    ctx.report?.(`lazy ${layer.descriptor.digest}`, { current: 0, total: layer.descriptor.size, done: true });
  }
  return { first, parent };
}
