/** `squash=true`: the layers that a build has added to its base become one. */
import { createHash, randomUUID } from 'node:crypto';
import { specOfMounts } from '../fs/index.ts';
import { chainIds, type Digest, type HistoryEntry, type ImageConfig } from '../oci/index.ts';
import { hold, type Ref, type RefLayer, type SnapshotInfo, snapshotLabels } from '../store/index.ts';
import { runTask } from '../workers/index.ts';
import { contextOf } from './layers.ts';
import type { ExportContext, PlatformResult } from './types.ts';

/**
 * The same result with one layer on top of its base's, whose layers and history stay as they are. The steps stay in the
 * history, without layers, and an entry for the layer follows them, as with docker's old builder. A build on no base
 * gets one layer in all.
 */
export async function squashed(result: PlatformResult, ctx: ExportContext): Promise<PlatformResult> {
  const { ref, config, baseHistory } = result;
  if (ref === undefined) return result;
  const { snapshots } = ctx.store;
  const top = await ref.snapshot(contextOf(ctx));
  const chain = await snapshots.chain(top);
  const layers =
    (await ref.layers())?.layers ?? chain.map((info): RefLayer => ({ snapshot: info.key, info }));
  const kept = baseHistory === undefined ? await basesIn(layers, ctx) : withLayers(baseHistory);
  const below = chain.slice(0, Math.min(kept, chain.length));
  const own = chain.slice(below.length);
  const history = squashedHistory(config, baseHistory?.length ?? 0, own.length, below.length > 0);
  const changed: ImageConfig = { ...config, history };
  if (own.length < 2) return { ...result, config: changed };
  const key = await oneLayer(below, own, ctx);
  const all = [...layers.slice(0, below.length), { snapshot: key, info: await snapshots.stat(key) }];
  return { ...result, ref: inLayers(ref, key, all), config: changed };
}

function withLayers(history: readonly HistoryEntry[]): number {
  return history.filter((entry) => entry.empty_layer !== true).length;
}

/** How many of the lowest layers are a base image's, for a result that does not tell the history of one. */
async function basesIn(layers: readonly RefLayer[], { bases }: ExportContext): Promise<number> {
  const named = await bases?.();
  const known = layers.map(({ diffId }) => diffId);
  const end = known.indexOf(undefined);
  const chains = chainIds(known.slice(0, end < 0 ? known.length : end) as Digest[]);
  const other = chains.findIndex((chain) => named?.has(chain) !== true);
  return other < 0 ? chains.length : other;
}

function squashedHistory(
  { history = [] }: ImageConfig,
  base: number,
  merged: number,
  hasBase: boolean,
): HistoryEntry[] {
  const steps = history.map((entry, i) => (i < base ? entry : { ...entry, empty_layer: true }));
  const count = `${merged} layer${merged === 1 ? '' : 's'}`;
  const comment = hasBase ? `merge ${count} to the base image` : `create new from ${count}`;
  return [...steps, merged === 0 ? { comment, empty_layer: true } : { comment }];
}

/** The snapshot that has the changes of all of `own` in one layer on `below`. One that was made before is taken again. */
async function oneLayer(
  below: readonly SnapshotInfo[],
  own: readonly SnapshotInfo[],
  ctx: ExportContext,
): Promise<string> {
  const { store, lease, signal } = ctx;
  const { snapshots } = store;
  const keys = [...below, { key: '' }, ...own].map(({ key }) => key).join('\n');
  const name = `squash-${createHash('sha256').update(keys).digest('hex')}`;
  if (await hold(store, lease, { type: 'snapshot', id: name })) return name;
  const base = below.at(-1)?.key;
  const [lower, upper] = await Promise.all([
    base === undefined ? undefined : snapshots.view(base),
    snapshots.view((own.at(-1) as SnapshotInfo).key),
  ]);
  const key = `squash-active-${randomUUID()}`;
  try {
    const target = specOfMounts(await snapshots.prepare(key, base, { lease }));
    const dir = target.kind === 'layers' ? target.dirs[0] : undefined;
    const args = {
      lower: lower === undefined ? ({ kind: 'empty' } as const) : specOfMounts(lower.mounts),
      upper: specOfMounts(upper.mounts),
      dir: dir as string,
    };
    await runTask('ops.diff', args, { signal });
    const times = own.map(({ labels, createdAt }) => Number(labels[snapshotLabels.madeAt] ?? createdAt));
    const labels = { [snapshotLabels.madeAt]: String(Math.max(...times)) };
    await snapshots.commit(name, key, { lease, labels });
  } catch (err) {
    await snapshots.remove(key).catch(() => {});
    // Another build has made it meanwhile.
    if (await hold(store, lease, { type: 'snapshot', id: name })) return name;
    throw err;
  } finally {
    await Promise.all([lower?.release(), upper.release()]);
  }
  return name;
}

/** A ref of the same tree as another one, in the given layers, of which the topmost is a snapshot. */
function inLayers(ref: Ref, key: string, layers: readonly RefLayer[]): Ref {
  return {
    id: key,
    view: (at) => ref.view(at),
    snapshot: async () => key,
    layers: async () => ({ where: 'here', layers }),
    serialize: () => ({ kind: 'snapshot', key }),
  };
}
