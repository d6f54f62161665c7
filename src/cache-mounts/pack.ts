/** Packs a cache mount as layers: what has changed since it was last exported, on top of what was exported then. */
import { rmSync, statSync } from 'node:fs';
import { canceled, DrydockError, throwIfAborted } from '../errors/index.ts';
import type { HeldFolder, KeptFolders, KeptFound, KeptKey } from '../kept/index.ts';
import { type Compression, packChanges } from '../layer/index.ts';
import type { Descriptor } from '../oci/index.ts';
import type { Store } from '../store/index.ts';
import { type MountLayer, type MountState, newList, saveState, statesOf } from './states.ts';

export interface PackedMount {
  key: string;
  /** ms since the epoch */
  madeAt: number;
  root: { mode: number; uid: number; gid: number };
  /** Lowest first. */
  layers: readonly MountLayer[];
  /** Which of them were made now and are in content; the others are at the target. */
  fresh: ReadonlySet<string>;
}

interface PackOptions {
  owner: string | undefined;
  /** The place that it is packed for. */
  target: string;
  /** Whether the place is written once only, as an archive is: nothing is remembered of it, since all is packed anew. */
  isPassing?: boolean;
  compression: Compression;
  lease: string;
  signal: AbortSignal;
  /** How long to wait for a mount that is in use, ms. */
  wait: number;
  /** Whether a layer is at the target. */
  has(layer: Descriptor): Promise<boolean>;
}

/** A mount with more layers than this is packed anew as one. */
const mostLayers = 16;

/**
 * Packs a mount, whose steps wait meanwhile; undefined when it stays in use. When all layers of an earlier export are at
 * the target, only what has changed since becomes a layer, unless the layers are many or the changes have become more
 * than what they change. Throws `corrupt`, `exhausted`, `canceled`, and what `has` does.
 */
export async function packMount(
  store: Store,
  caches: KeptFolders,
  found: KeptFound,
  options: PackOptions,
): Promise<PackedMount | undefined> {
  const { owner, target, isPassing = false, compression, lease, signal } = options;
  const held = await takeIn(caches, { key: found.name, owner }, options);
  if (held === undefined) return undefined;
  try {
    const instance = held.beside('');
    const dir = await held.data();
    const base = await baseOf(statesOf(instance), options);
    const list = newList(instance);
    const packed = await packChanges(
      store,
      { dir, list: base?.list, out: list },
      { compression, lease, signal },
    );
    const { mode, uid, gid } = statSync(dir);
    const root = { mode: mode & 0o7777, uid, gid };
    const isNew = base === undefined || packed.entries > 0;
    const { descriptor, diffId } = packed;
    const layers = [...(base?.layers ?? []), ...(isNew ? [{ descriptor, diffId }] : [])];
    const madeAt = isNew ? Date.now() : base.at;
    if (isPassing) rmSync(list, { force: true });
    // It is believed only as long as the layers are found at the target.
    else saveState(instance, { target, at: madeAt, root, layers, list });
    return {
      key: found.name,
      madeAt,
      root,
      layers,
      fresh: new Set(isNew ? [descriptor.digest] : []),
    };
  } finally {
    held.release();
  }
}

/** The state that the changes are counted from: one whose layers are all at the target. */
async function baseOf(
  states: readonly MountState[],
  { target, has }: PackOptions,
): Promise<MountState | undefined> {
  const ours = states.filter((state) => state.target === target);
  for (const state of [...ours, ...states.filter((each) => !ours.includes(each))]) {
    const [lowest, ...changes] = state.layers;
    const changed = changes.reduce((sum, { descriptor: { size } }) => sum + size, 0);
    if (lowest === undefined || state.layers.length >= mostLayers || changed > lowest.descriptor.size)
      continue;
    const there = await Promise.all(state.layers.map(({ descriptor }) => has(descriptor)));
    if (there.every(Boolean)) return state;
  }
  return undefined;
}

/** Takes a mount for us alone; undefined when that takes too long. */
async function takeIn(
  caches: KeptFolders,
  key: KeptKey,
  { wait, signal }: PackOptions,
): Promise<HeldFolder | undefined> {
  try {
    return await caches.take(key, { signal: AbortSignal.any([signal, AbortSignal.timeout(wait)]) });
  } catch (err) {
    throwIfAborted(signal);
    if (err instanceof DrydockError && err.code === 'canceled') return undefined;
    throw signal.aborted ? canceled(signal.reason) : err;
  }
}
