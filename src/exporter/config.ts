/** Completes an image config for the layers of the image. Pure. */
import { isDeepStrictEqual } from 'node:util';
import { fail } from '../errors/index.ts';
import type { ContainerConfig, Digest, HistoryEntry, ImageConfig } from '../oci/index.ts';
import { sortedByName } from '../words/index.ts';

interface BuiltLayer {
  diffId: Digest;
  /** When the layer's snapshot was made, in ms since the epoch; undefined for layers that come from elsewhere. */
  createdAt?: number;
  /** The name of the step that made the layer, for a history that does not tell it. */
  createdBy?: string;
}

/**
 * The config with `rootfs.diff_ids`, with a history that has an entry for each layer, and with a creation time. That
 * time is the epoch (in seconds) if there is one; else it is the time of the newest layer, so that the same layers give
 * the same config. Times later than the epoch are set to it, except in the base's own history. Throws `invalid` (hop
 * `export`) for a config that is null or does not name its platform.
 *
 *     finishConfig(config, [{ diffId, createdAt: Date.now() }], epoch)
 */
export function finishConfig(
  config: ImageConfig,
  layers: readonly BuiltLayer[],
  epoch: number | undefined,
  baseHistory: readonly HistoryEntry[] = [],
): ImageConfig {
  checkConfig(config);
  const history = matchHistory(config.history ?? [], layers);
  fillTimes(history, layers, epoch, config.created);
  if (epoch !== undefined)
    clampTimes(history.slice(sameStart(config.history ?? [], baseHistory)), epoch * 1000);
  const created =
    epoch === undefined
      ? (history.findLast((entry) => entry.created !== undefined)?.created ?? config.created)
      : iso(epoch * 1000);
  return {
    ...config,
    created: created ?? iso(0),
    history,
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
  };
}

/** Whether instructions changed only the config, so that nothing in the image has a time of its own. */
export function isConfigOnly({ history = [] }: ImageConfig): boolean {
  const own = history.filter(({ created }) => created === undefined);
  return own.length > 0 && own.every((entry) => entry.empty_layer === true);
}

/**
 * A finished config with the time `ms` (since the epoch) in those of its own history entries that have no time in
 * `own`.
 */
export function timed(finished: ImageConfig, own: ImageConfig, ms: number): ImageConfig {
  const created = iso(ms);
  const history = finished.history?.map((entry, i) =>
    own.history?.[i]?.created === undefined ? { ...entry, created } : entry,
  );
  return { ...finished, created, history };
}

/** Checks a config, for frontends may send anything. */
function checkConfig(config: ImageConfig | null): void {
  if (config === null || typeof config !== 'object' || Array.isArray(config)) {
    const what = config === null ? 'null image config' : 'image config';
    throw fail('invalid', 'export', `invalid ${what} for export`);
  }
  for (const name of ['os', 'architecture'] as const) {
    if (!config[name]) throw fail('invalid', 'export', `invalid image config for export: missing ${name}`);
  }
}

/** Marks history entries as empty when there are more than layers, and adds entries for further layers. */
function matchHistory(history: readonly HistoryEntry[], layers: readonly BuiltLayer[]): HistoryEntry[] {
  let used = 0;
  const out = history.map((entry) => {
    if (entry.empty_layer) return { ...entry };
    if (used >= layers.length) return { ...entry, empty_layer: true };
    used++;
    return { ...entry };
  });
  for (; used < layers.length; used++) {
    const by = layers[used]?.createdBy;
    out.push({ ...(by !== undefined && { created_by: by }), comment: 'drydock.exporter.image' });
  }
  return out;
}

function fillTimes(
  history: HistoryEntry[],
  layers: readonly BuiltLayer[],
  epoch: number | undefined,
  baseCreated: string | undefined,
): void {
  let index = 0;
  // An entry without a layer takes the time of the next one made here that has one, at the end of the last; when no
  // layer was made here, the time of what is below.
  const times = history.map((entry) => (entry.empty_layer ? undefined : layers[index++]?.createdAt));
  let next: number | undefined;
  const after = times.map(() => undefined as number | undefined);
  for (let i = times.length - 1; i >= 0; i--) {
    next = times[i] ?? next;
    after[i] = next;
  }
  const last = times.findLast((time) => time !== undefined);
  let below = baseCreated;
  for (const [i, entry] of history.entries()) {
    const time = after[i] ?? last;
    if (entry.created === undefined && epoch !== undefined) entry.created = iso(epoch * 1000);
    else if (entry.created === undefined && time !== undefined) entry.created = iso(time);
    else if (entry.created === undefined && below !== undefined) entry.created = below;
    below = entry.created ?? below;
  }
}

/** How many entries at the beginning of two histories are the same. */
function sameStart(one: readonly HistoryEntry[], other: readonly HistoryEntry[]): number {
  const end = one.findIndex((entry, i) => !isDeepStrictEqual(entry, other[i]));
  return end < 0 ? one.length : end;
}

function clampTimes(history: HistoryEntry[], ms: number): void {
  for (const entry of history) {
    if (entry.created !== undefined && Date.parse(entry.created) > ms) entry.created = iso(ms);
  }
}

function iso(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z');
}

/**
 * The config as JSON. The fields of the outer object and the names of labels, ports and volumes are sorted, as Go's
 * encoder writes a map: clients send labels in any order, and the same ones are the same image. Bytes of a Dockerfile's
 * labels and variables that are not UTF-8 become U+FFFD, as with Go.
 */
export function configBytes(config: ImageConfig): Buffer {
  const json = JSON.stringify(
    sortedByName({ ...config, ...(config.config && { config: inOrder(config.config) }) }),
  );
  if (!json.includes('\\ud')) return Buffer.from(json);
  return Buffer.from(json.replace(/(?<!\\)((?:\\\\)*)\\ud[c-f][0-9a-f]{2}/g, '$1\ufffd'));
}

/** A container's config whose maps are sorted; its fields stay as they are. */
function inOrder(container: ContainerConfig): ContainerConfig {
  const ordered = { ...container };
  for (const name of ['Labels', 'ExposedPorts', 'Volumes'] as const) {
    const map: object | null | undefined = container[name];
    if (map) Object.assign(ordered, { [name]: sortedByName(map) });
  }
  return ordered;
}
