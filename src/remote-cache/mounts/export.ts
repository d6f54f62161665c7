/** Writes cache mounts with a build's cache: what has changed in them since they were last written there. */
import { idOf, isNamed, isNewer, type PackedMount, packMount, statesOf } from '../../cache-mounts/index.ts';
import type { ExportContext } from '../../exporter/index.ts';
import type { KeptFolders, KeptFound } from '../../kept/index.ts';
import { MountType } from '../../llb/index.ts';
import { type Descriptor, digestOf } from '../../oci/index.ts';
import { cacheId } from '../../ops/index.ts';
import type { ForeignMount, TracedVertex } from '../../solver/index.ts';
import type { RefContext } from '../../store/index.ts';
import { cacheMountsType, encodeMounts, type MountRecord } from '../format/mounts.ts';
import type { BlobTarget } from '../targets.ts';
import { isChosen, type MountChoice } from './choice.ts';

/** The cache mounts that a build may write. */
export interface BuildMounts {
  caches: KeptFolders;
  /** Whose they are; undefined: everybody's. No others are looked at. */
  owner: string | undefined;
  /** Names of those that the build's steps have used. */
  used: ReadonlySet<string>;
  /** What the caches have that the build has read. */
  foreign: readonly ForeignMount[];
}

interface WantedMounts {
  choice: MountChoice;
  /** The place of the cache, as `placeText` names it. */
  target: string;
  /** Whether the place is an archive, which is written as a whole. */
  isPassing: boolean;
}

/** How long an export waits for a mount that steps of other builds have, ms. */
const wait = 30_000;

/**
 * Writes the chosen mounts' layers, and then the document that names them. Returns all blobs that the cache's manifest
 * is to keep; none when there is no mount. A mount that cannot be written now is a warning.
 */
export async function exportMounts(
  { choice, target: name, isPassing }: WantedMounts,
  traces: readonly (readonly TracedVertex[])[],
  target: BlobTarget,
  mounts: BuildMounts,
  ctx: ExportContext,
): Promise<Descriptor[]> {
  if (choice === 'none') return [];
  const place = { name, isPassing };
  const records: MountRecord[] = [];
  for (const each of chosenMounts(choice, idsIn(traces), mounts, ctx)) {
    const title = `exporting cache mount ${each.name}`;
    ctx.progress.report(title, { current: 0, total: 0 });
    const record = await exportOne(each, place, target, mounts, ctx);
    if (record !== undefined) records.push(record);
    ctx.progress.report(title, { current: 0, total: 0, done: true });
  }
  if (records.length === 0) return [];
  const bytes = encodeMounts(records);
  const document = { mediaType: cacheMountsType, digest: digestOf(bytes), size: bytes.length };
  await target.document(document, bytes);
  const layers = records.flatMap((record) => record.layers.map(({ diffId: _, ...descriptor }) => descriptor));
  return [document, ...layers];
}

interface ChosenMount {
  name: string;
  here: KeptFound | undefined;
  /** The newest one elsewhere. */
  foreign: ForeignMount | undefined;
}

/** IDs of the cache mounts that steps have. */
function idsIn(traces: readonly (readonly TracedVertex[])[]): Set<string> {
  const ids = new Set<string>();
  for (const { vertex } of traces.flat()) {
    const { op } = vertex.op;
    if (op.case !== 'exec') continue;
    for (const mount of op.value.mounts) if (mount.mountType === MountType.CACHE) ids.add(cacheId(mount));
  }
  return ids;
}

/**
 * The mounts to write. Of the mounts of one ID, which differ in what they were filled from, these are those that the
 * build has used, or else the last one that any has.
 */
function chosenMounts(
  choice: MountChoice,
  ids: ReadonlySet<string>,
  { caches, owner, used, foreign }: BuildMounts,
  { progress }: ExportContext,
): ChosenMount[] {
  const fits = (name: string) => (choice === 'all' ? ids.has(idOf(name)) : isChosen(choice, name));
  const byName = new Map<string, ChosenMount & { at: number }>();
  for (const here of caches.find(owner, fits)) {
    byName.set(here.name, { name: here.name, here, foreign: undefined, at: here.lastUsedAt });
  }
  for (const mount of foreign.filter(({ key }) => fits(key))) {
    const known = byName.get(mount.key);
    const newest =
      known?.foreign !== undefined && known.foreign.madeAt >= mount.madeAt ? known.foreign : mount;
    const at = Math.max(known?.at ?? 0, mount.madeAt);
    byName.set(mount.key, { name: mount.key, here: known?.here, foreign: newest, at });
  }
  const byId = Map.groupBy(byName.values(), ({ name }) => idOf(name));
  const chosen = [...byId.values()].flatMap((same) => {
    const own = same.filter(({ name }) => used.has(name));
    return own.length > 0 ? own : same.sort((a, b) => b.at - a.at).slice(0, 1);
  });
  for (const id of typeof choice === 'string' ? [] : choice) {
    if (chosen.some(({ name }) => isNamed(name, id))) continue;
    progress.warn({
      level: 1,
      short: `cache-to: there is no cache mount ${JSON.stringify(id)} to write`,
      detail: ['`drydock cache mount ls` shows those that there are.'],
    });
  }
  return chosen.sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function exportOne(
  { name, here, foreign }: ChosenMount,
  place: { name: string; isPassing: boolean },
  target: BlobTarget,
  { caches, owner }: BuildMounts,
  ctx: ExportContext,
): Promise<MountRecord | undefined> {
  const { store, lease, signal, progress } = ctx;
  if (foreign !== undefined && isNewer(foreign, here)) return handOn(foreign, target, ctx);
  if (here === undefined) return undefined;
  const has = (layer: Descriptor) => target.has(layer);
  const compression = { type: 'zstd' } as const;
  const packed = await packMount(store, caches, here, {
    ...{ owner, target: place.name, isPassing: place.isPassing, compression, lease, signal, wait, has },
  });
  if (packed !== undefined) {
    for (const { descriptor } of packed.layers) {
      if (!packed.fresh.has(descriptor.digest)) continue;
      await target.layer({ descriptor, from: undefined, bring: async () => {} });
    }
    return recordOf(packed);
  }
  progress.warn({
    level: 1,
    short: `the cache mount ${name} is in use by other builds; what was written of it before stays`,
    detail: [`It was waited for ${wait / 1000} s.`],
  });
  return foreign === undefined ? lastWritten(here, place.name, target) : handOn(foreign, target, ctx);
}

/** Writes a mount as another cache has it. */
async function handOn(mount: ForeignMount, target: BlobTarget, ctx: ExportContext): Promise<MountRecord> {
  const { session, signal, lease, progress } = ctx;
  const asked: RefContext = {
    ...{ signal, lease, credentials: (host) => session.credentials(host) },
    report: (id, state) => progress.report(id, state),
  };
  const from = /^registry:(.*)$/s.exec(mount.target)?.[1];
  for (const { descriptor } of mount.layers) {
    await target.layer({ descriptor, from, bring: () => mount.bring(descriptor, asked) });
  }
  return recordOf(mount);
}

/** What was written of a mount to a place before, when it is there still. */
async function lastWritten(
  { name, instance }: KeptFound,
  place: string,
  target: BlobTarget,
): Promise<MountRecord | undefined> {
  const state = statesOf(instance).find((each) => each.target === place);
  if (state === undefined) return undefined;
  const there = await Promise.all(state.layers.map(({ descriptor }) => target.has(descriptor)));
  if (!there.every(Boolean)) return undefined;
  return recordOf({ key: name, madeAt: state.at, root: state.root, layers: state.layers });
}

function recordOf({
  key,
  madeAt,
  root,
  layers,
}: Pick<PackedMount | ForeignMount, 'key' | 'madeAt' | 'root' | 'layers'>): MountRecord {
  return {
    ...{ key, madeAt, root },
    layers: layers.map(({ descriptor: { mediaType, digest, size }, diffId }) => ({
      ...{ mediaType, digest, size, diffId },
    })),
  };
}
