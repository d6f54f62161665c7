/**
 * Blobs of the layers of committed snapshots. A blob is made when it is asked for, once, and remembered on the
 * snapshot.
 */
import { randomUUID } from 'node:crypto';
import { MessageChannel } from 'node:worker_threads';
import { fail, throwIfAborted } from '../errors/index.ts';
import { specOfMounts, type ViewSpec } from '../fs/index.ts';
import { chainIds, type Descriptor, type Digest } from '../oci/index.ts';
import type { ReportStatus } from '../progress/index.ts';
import { hold, type SnapshotInfo, type Store, snapshotLabels } from '../store/index.ts';
import { isDue, nextTurn, receiveFromTask, runTask } from '../workers/index.ts';
import { levelOf } from './block-compress.ts';
import { compressionOf, descriptorOf } from './media-types.ts';
import type { PackArgs, PackResult } from './pack-task.ts';
import type { SinceList } from './since.ts';
import type { Compression, LayerBlob } from './types.ts';

interface PackOptions {
  compression: Compression;
  /** Later times are set to this one (`rewrite-timestamp`); seconds since the epoch. */
  epoch?: number;
  /** `blob`: the blob is in content afterwards; `hash-only`: only its descriptor is computed. */
  store: 'hash-only' | 'blob';
  lease: string;
  signal?: AbortSignal;
  report?: ReportStatus;
  /** The snapshot as the store describes it, when the caller has just asked. */
  info?: SnapshotInfo;
}

/** The facts about a layer's blob in a label of its snapshot. */
interface Remembered extends LayerBlob {
  /** Set when the layer hides files: the snapshot below, since the hidden files depend on it. */
  parent?: string;
}

/**
 * Packs the layer of a committed snapshot as an OCI layer blob. The same snapshot, compression and epoch give the same
 * bytes on every machine; equal calls at the same time share one run. Throws `not-found`, `exhausted`, `canceled`.
 */
export async function packSnapshot(store: Store, key: string, options: PackOptions): Promise<LayerBlob> {
  const info = options.info ?? (await store.snapshots.stat(key));
  if (info?.kind !== 'committed') {
    throw fail(
      'not-found',
      'store',
      `there is no committed snapshot ${JSON.stringify(key)} to make a layer of`,
    );
  }
  const variant = variantOf(options.compression, options.epoch);
  const known = rememberedBlob(info, options);
  if (known !== undefined) {
    if (options.store === 'hash-only') return known;
    if (await hold(store, options.lease, { type: 'blob', id: known.descriptor.digest })) return known;
  }
  const blob = await store.work.packing.run(`${options.store} ${variant} ${key}`, options.signal, () =>
    packNow(store, info, variant, options),
  );
  if (options.store === 'blob')
    await hold(store, options.lease, { type: 'blob', id: blob.descriptor.digest });
  return blob;
}

/**
 * Labels the snapshots of a whole stack (lowest first) with their diff and chain IDs, so that `Snapshots.byChain` finds
 * them. Labels that are right already are not written. `infos`: the snapshots as the store describes them, as far as
 * the caller has just asked.
 *
 *     await labelChain(store, ['base', 'app'], [baseDiffId, appDiffId]); // 'app' gets the chain ID of both
 */
export async function labelChain(
  store: Store,
  keys: readonly string[],
  diffIds: readonly Digest[],
  infos: readonly (SnapshotInfo | undefined)[] = [],
): Promise<void> {
  const chains = chainIds(diffIds);
  await Promise.all(
    keys.map(async (key, i) => {
      if (isDue()) await nextTurn();
      const labels = (infos[i] ?? (await store.snapshots.stat(key)))?.labels;
      const chain = chains[i];
      if (labels === undefined || labels[snapshotLabels.chainId] === chain) return;
      await store.snapshots.setLabels(key, {
        [snapshotLabels.diffId]: diffIds[i],
        [snapshotLabels.chainId]: chain,
      });
    }),
  );
}

/**
 * Makes sure that a manifest's layer is in content. If it is missing, the snapshot whose stack has the chain ID `chain`
 * is packed again. Throws `not-found` when there is no such snapshot, `corrupt` when it gives other bytes.
 *
 *     await ensureBlob(store, manifest.layers[1], chainIds(diffIds)[1], { lease });
 */
export async function ensureBlob(
  store: Store,
  descriptor: Descriptor,
  chain: Digest,
  ctx: { lease: string; signal?: AbortSignal; report?: ReportStatus },
): Promise<void> {
  if (await hold(store, ctx.lease, { type: 'blob', id: descriptor.digest })) return;
  const snapshot = await store.snapshots.byChain(chain);
  if (snapshot === undefined || snapshot.labels[snapshotLabels.lazy] !== undefined) {
    throw fail('not-found', 'store', `the layer ${descriptor.digest} is not here, and no snapshot has it`, {
      hint: 'Pull or build the image again.',
    });
  }
  let gives = '';
  for (const variant of variantsFor(snapshot, descriptor)) {
    const made = await packSnapshot(store, snapshot.key, { ...variant, store: 'blob', ...ctx });
    if (made.descriptor.digest === descriptor.digest) return;
    gives ||= made.descriptor.digest;
  }
  throw fail(
    'corrupt',
    'store',
    `the layer ${descriptor.digest} cannot be made again: its snapshot now gives ${gives}`,
    { hint: 'Pull or build the image again.' },
  );
}

type Variant = Pick<PackOptions, 'compression' | 'epoch'> & { digest: Digest };

/**
 * Whether a layer that is packed so decompresses to the tar of its snapshot: the snapshot then has its diff ID. Times
 * that were changed, and an eStargz's table of contents, make another one.
 */
export function keepsTar({ compression, epoch }: Pick<PackOptions, 'compression' | 'epoch'>): boolean {
  return epoch === undefined && compression.type !== 'estargz';
}

/**
 * The forms in which a snapshot's very tar was packed before, most usual first. The blobs may be gone.
 */
export function packedVariants(snapshot: SnapshotInfo | undefined): Variant[] {
  const rank = ({ compression: { type, level, early }, digest }: Variant) =>
    `${type} ${Number(level !== levelOf({ type }) || early === true)} ${digest}`;
  return variantsOf(snapshot)
    .filter(keepsTar)
    .sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
}

function variantsOf(snapshot: SnapshotInfo | undefined): Variant[] {
  return Object.entries(snapshot?.labels ?? {}).flatMap(([name, value]) => {
    if (!name.startsWith(snapshotLabels.blobPrefix)) return [];
    const { descriptor, parent } = JSON.parse(value) as Partial<Remembered>;
    if (parent !== undefined && parent !== (snapshot?.parent ?? '')) return [];
    const match = /^(uncompressed|gzip|zstd|estargz|zstdchunked)(?:-(\d+)(\.2)?)?(?:@(\d+))?$/.exec(
      name.slice(snapshotLabels.blobPrefix.length),
    );
    if (match === null || descriptor === undefined) return [];
    const [, type, level, second, epoch] = match;
    const compression = {
      type: type as Compression['type'],
      level: level === undefined ? undefined : Number(level),
      ...(hasSecond(type) && second === undefined && { early: true as const }),
    };
    return [
      { compression, epoch: epoch === undefined ? undefined : Number(epoch), digest: descriptor.digest },
    ];
  });
}

/** The compression and epoch that gave a descriptor: as remembered, else what its media type lets one guess. */
function variantsFor(
  snapshot: SnapshotInfo,
  descriptor: Descriptor,
): Pick<PackOptions, 'compression' | 'epoch'>[] {
  const known = variantsOf(snapshot).find(({ digest }) => digest === descriptor.digest);
  if (known !== undefined) return [known];
  const type = compressionOf(descriptor);
  // It may come from an early release elsewhere.
  return [
    { compression: { type } },
    ...(hasSecond(type) ? [{ compression: { type, early: true } as const }] : []),
  ];
}

/** Compressors that were set up in another way once (`Compression.early`). */
function hasSecond(type: string | undefined): boolean {
  return type === 'gzip' || type === 'zstd';
}

function variantOf(compression: Compression, epoch: number | undefined): string {
  const level = compression.type === 'uncompressed' ? '' : `-${levelOf(compression)}`;
  const second = hasSecond(compression.type) && !compression.early ? '.2' : '';
  return `${compression.type}${level}${second}${epoch === undefined ? '' : `@${epoch}`}`;
}

/** The blob as which a snapshot's layer was packed before; undefined when it was not. The blob may be gone. */
export function rememberedBlob(
  info: SnapshotInfo,
  { compression, epoch }: Pick<PackOptions, 'compression' | 'epoch'>,
): LayerBlob | undefined {
  const text = info.labels[`${snapshotLabels.blobPrefix}${variantOf(compression, epoch)}`];
  if (text === undefined) return undefined;
  const known = JSON.parse(text) as Remembered;
  if (known.diffId === undefined || (known.parent !== undefined && known.parent !== (info.parent ?? ''))) {
    return undefined;
  }
  return { descriptor: known.descriptor, diffId: known.diffId, size: known.size };
}

async function packNow(
  store: Store,
  info: SnapshotInfo,
  variant: string,
  options: PackOptions,
): Promise<LayerBlob> {
  // A high stack takes long to list, and callers ask for all layers of an image at once.
  if (isDue()) await nextTurn();
  const views = [await store.snapshots.view(info.key)];
  try {
    let layer: PackArgs['layer'];
    const spec = specOfMounts(views[0]!.mounts);
    if (store.snapshotter === 'native') {
      let lower: ViewSpec = { kind: 'empty' };
      if (info.parent !== undefined) {
        const below = await store.snapshots.view(info.parent);
        views.push(below);
        lower = specOfMounts(below.mounts);
      }
      layer = { kind: 'difference', lower, upper: spec };
    } else {
      const dirs = spec.kind === 'layers' ? spec.dirs : [];
      layer = { kind: 'overlay', dir: dirs[0]!, lower: { kind: 'layers', dirs: dirs.slice(1) } };
    }
    const latestNs = options.epoch === undefined ? undefined : BigInt(options.epoch) * 1_000_000_000n;
    const args = { layer, compression: options.compression, latestNs };
    const packed = await packInto(store, args, options);
    const blob: LayerBlob = {
      descriptor: descriptorOf(options.compression, packed),
      diffId: packed.diffId,
      size: packed.size,
    };
    if (options.store === 'blob' && options.compression.type !== 'uncompressed') {
      await store.content.linger?.(packed.digest);
    }
    const { hides } = packed;
    for (const { key, parent } of [info, await sameStack(store, info)].filter((each) => each !== undefined)) {
      const label: Remembered = hides ? { ...blob, parent: parent ?? '' } : blob;
      const labels: Record<string, string> = {
        [`${snapshotLabels.blobPrefix}${variant}`]: JSON.stringify(label),
      };
      if (keepsTar(options)) labels[snapshotLabels.diffId] = packed.diffId;
      await store.snapshots.setLabels(key, labels);
    }
    return blob;
  } finally {
    await Promise.all(views.map((view) => view.release()));
  }
}

/** The snapshot that has the same stack under another name, if any: what is remembered there is true here too. */
async function sameStack(store: Store, { key, labels }: SnapshotInfo): Promise<SnapshotInfo | undefined> {
  const owner = labels[snapshotLabels.layerOf];
  // In a containerd, the name of a stack may be its chain ID.
  const chain = labels[snapshotLabels.chainId] ?? key;
  const found = owner === undefined ? undefined : await store.snapshots.stat(owner);
  return found?.kind === 'committed' && found.labels[snapshotLabels.chainId] === chain ? found : undefined;
}

/**
 * Packs what has changed in a plain folder as a blob in content, under the lease; `entries` says how much that was.
 * Nothing may write into the folder meanwhile. Throws `corrupt` when something did, `exhausted`, `canceled`.
 *
 *     await packChanges(store, { dir, list: 'exported', out: 'exported.new' }, { compression, lease });
 */
export async function packChanges(
  store: Store,
  changes: SinceList,
  { compression, lease, signal }: Pick<PackOptions, 'compression' | 'lease' | 'signal'>,
): Promise<LayerBlob & { entries: number }> {
  const args = { layer: { kind: 'since', ...changes } as const, compression };
  const packed = await packInto(store, args, { compression, lease, signal, store: 'blob' });
  if (compression.type !== 'uncompressed') await store.content.linger?.(packed.digest);
  return {
    descriptor: descriptorOf(compression, packed),
    diffId: packed.diffId,
    size: packed.size,
    entries: packed.entries,
  };
}

async function packInto(
  store: Store,
  args: Omit<PackArgs, 'sink'>,
  options: PackOptions,
): Promise<PackResult> {
  const { content } = store;
  const { signal, lease } = options;
  if (options.store === 'hash-only')
    return runTask('layer.pack', { ...args, sink: { kind: 'none' } }, { signal });
  if (content.adopt !== undefined && content.ingestPath !== undefined) {
    const path = await content.ingestPath();
    const packed = await runTask('layer.pack', { ...args, sink: { kind: 'file', path } }, { signal });
    await content.adopt(path, { digest: packed.digest, size: packed.blobSize }, { lease });
    return packed;
  }
  // Two processes may pack the same layer at once.
  const writer = await content.writer(`pack-${randomUUID()}`, { lease });
  const { port1, port2 } = new MessageChannel();
  try {
    const packing = runTask(
      'layer.pack',
      { ...args, sink: { kind: 'port', port: port2 } },
      { signal, transfer: [port2], waits: true },
    );
    for await (const chunk of receiveFromTask(port1, packing)) {
      throwIfAborted(signal);
      await writer.write(chunk);
    }
    const packed = await packing;
    await writer.commit();
    return packed;
  } catch (err) {
    await writer.abort();
    throw err;
  }
}
