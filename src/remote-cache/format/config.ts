/**
 * A build cache as BuildKit writes it for others: `application/vnd.buildkit.cacheconfig.v0`.
 * https://github.com/moby/buildkit/blob/master/cache/remotecache/v1/doc.go
 */
import { fail } from '../../errors/index.ts';
import { chunkAnnotations, type Digest, digestOf, isDigest, jsonExcess } from '../../oci/index.ts';

const mountsField = 'drydock.cachemounts';

export const cacheConfigType = 'application/vnd.buildkit.cacheconfig.v0';

/** The largest config, in bytes. */
export const maxCacheConfig = 16 << 20;
/** The most layers of one tree; overlayfs takes some hundreds. */
const maxStack = 1000;
/** The most layers that all results together name. */
const maxNamed = 1_000_000;
/** The most layers and links of one record. */
const maxOfRecord = 50_000;
/** What its JSON may hold: ten times what a cache of 10,000 steps does. */
const mostJson = { depth: 16, values: 2_000_000 };

/** A layer, and the layer below it. */
export interface ConfigLayer {
  blob: Digest;
  /** The index of the layer below; -1 for none. */
  parent: number;
  /** What a manifest would say of the layer, in a cache that has none. */
  about?: LayerAbout;
}

/** A layer of a cache in a bucket, which has no manifest beside its config. */
interface LayerAbout {
  mediaType: string;
  diffId: Digest;
  size: number;
  /** When it was made, in ms since the epoch, if that is known. */
  madeAt?: number;
  /** How its files are read one by one, when they can be (`chunkAnnotations`). BuildKit does not look at it. */
  chunked?: Record<string, string>;
}

export interface ConfigLink {
  selector: string;
  /** The index of a record. */
  link: number;
}

/** One output of a vertex. */
export interface ConfigRecord {
  /** `outputRecord` or `contentRecord`; other programs may write other digests. */
  digest: string;
  /** The results. Each is a tree: the indices of its layers, lowest first. */
  results: number[][];
  /** By input: the records that it may be. */
  inputs: ConfigLink[][];
}

export interface CacheConfig {
  layers: ConfigLayer[];
  records: ConfigRecord[];
  /** The document of the cache mounts, in a cache that has no manifest to name it. BuildKit does not look at it. */
  mounts?: { digest: Digest; size: number };
}

/** The digest of an output of a vertex: of the op (without its inputs) and the output's index. */
export function outputRecord(op: Digest, output: number): Digest {
  return digestOf(`${op}@${output}`);
}

/** The digest of content that stands for an input, whatever made it. */
export function contentRecord(content: Digest): Digest {
  return digestOf(`${content}@-1`);
}

/** The indices of a layer and of all below it, lowest first. Throws `corrupt` for a circle. */
function layerStack(layers: readonly ConfigLayer[], top: number): number[] {
  const stack: number[] = [];
  for (let at = top; at !== -1; at = (layers[at] as ConfigLayer).parent) {
    if (at < 0 || at >= layers.length) throw bad(`it names a layer ${at} of ${layers.length}`);
    if (stack.length >= layers.length) throw bad('its layers stand on each other in a circle');
    if (stack.length >= maxStack) throw bad(`a result has more than ${maxStack} layers`);
    stack.push(at);
  }
  return stack.reverse();
}

/** Reads a config. Throws `corrupt` (hop `cache`) for one that is not sound. */
export function parseCacheConfig(bytes: Uint8Array): CacheConfig {
  const value = parseJson(bytes);
  if (!isObject(value)) throw bad('its config is not a JSON object');
  const layers = list(value.layers, 'layers').map((layer): ConfigLayer => {
    const { blob, parent = 0, annotations } = object(layer, 'layer');
    if (typeof blob !== 'string' || !isDigest(blob)) throw bad('a layer has no sha256 digest');
    const about = readAbout(annotations);
    return { blob, parent: index(parent, 'layer', -1), ...(about === undefined ? {} : { about }) };
  });
  for (const { parent } of layers) if (parent >= layers.length) throw bad(`it names a layer ${parent}`);
  const records = readRecords(list(value.records, 'records'), (at) => layerStack(layers, at));
  for (const { results } of records) {
    for (const at of results.flat()) {
      if (at >= layers.length) throw bad(`it names a layer ${at} of ${layers.length}`);
    }
  }
  const mounts = value[mountsField];
  if (!isObject(mounts) || typeof mounts.digest !== 'string' || !isDigest(mounts.digest))
    return { layers, records };
  return { layers, records, mounts: { digest: mounts.digest, size: index(mounts.size, 'size') } };
}

/**
 * Reads the records of an inline cache, whose layers are those of its image. `count` is the number of the image's
 * layers. Throws `corrupt`.
 */
export function parseInlineRecords(bytes: Uint8Array, count: number): ConfigRecord[] {
  return readRecords(list(parseJson(bytes), 'records'), (at) => {
    if (at >= count) throw bad(`it names a layer ${at} of ${count}`);
    return Array.from({ length: at + 1 }, (_, i) => i);
  });
}

/** What a layer says of itself; undefined when it does not say all. */
function readAbout(value: unknown): LayerAbout | undefined {
  if (!isObject(value)) return undefined;
  const { mediaType, diffID, size, createdAt, chunked } = value;
  if (typeof mediaType !== 'string' || typeof diffID !== 'string' || !isDigest(diffID)) return undefined;
  const madeAt = typeof createdAt === 'string' ? Date.parse(createdAt) : Number.NaN;
  const annotations = isObject(chunked) ? chunkAnnotations({ annotations: chunked }) : undefined;
  return {
    mediaType,
    diffId: diffID,
    size: index(size ?? 0, 'size'),
    // Go writes the year 1 when it has no time.
    ...(madeAt > 0 ? { madeAt } : {}),
    ...(annotations && { chunked: annotations }),
  };
}

/**
 * The bytes of a config; equal configs have equal bytes. `aboutOf`: what each layer says of itself, in a cache without
 * a manifest.
 */
export function encodeCacheConfig(
  { layers, records }: CacheConfig,
  aboutOf?: (blob: Digest) => LayerAbout,
  mounts?: { digest: Digest; size: number },
): Buffer {
  const tops = new Map<string, number>();
  for (const [at] of layers.entries()) tops.set(layerStack(layers, at).join(), at);
  return Buffer.from(
    JSON.stringify({
      layers: layers.map(({ blob, parent }) => ({
        blob,
        ...(parent === 0 ? {} : { parent }),
        ...(aboutOf === undefined ? {} : { annotations: aboutJson(aboutOf(blob)) }),
      })),
      records: records.map((record) => recordJson(record, (stack) => tops.get(stack.join()))),
      ...(mounts === undefined ? {} : { [mountsField]: { digest: mounts.digest, size: mounts.size } }),
    }),
  );
}

/** The records of an inline cache; their layers are numbers of the image's layers. */
export function encodeInlineRecords(records: readonly ConfigRecord[]): Buffer {
  const isPrefix = (stack: readonly number[]) => stack.every((layer, i) => layer === i);
  return Buffer.from(
    JSON.stringify(
      records.map((record) =>
        recordJson(record, (stack) => (isPrefix(stack) ? stack.length - 1 : undefined)),
      ),
    ),
  );
}

function aboutJson({ mediaType, diffId, size, madeAt, chunked }: LayerAbout): unknown {
  const createdAt = madeAt === undefined ? noTime : new Date(madeAt).toISOString();
  return { mediaType, diffID: diffId, size, createdAt, ...(chunked && { chunked }) };
}

/** Go's zero time. Without real times, the same build gives the same cache to the byte. */
const noTime = '0001-01-01T00:00:00Z';

/** The JSON of a record. `topOf` gives the one number that stands for a stack; a stack without one is written out. */
function recordJson(
  { digest, results, inputs }: ConfigRecord,
  topOf: (stack: readonly number[]) => number | undefined,
): unknown {
  const json: { digest: string; layers?: unknown[]; chains?: unknown[]; inputs?: unknown[] } = { digest };
  for (const layers of results) {
    const top = topOf(layers);
    if (top === undefined) json.chains = [...(json.chains ?? []), { layers, createdAt: noTime }];
    else json.layers = [...(json.layers ?? []), { layer: top, createdAt: noTime }];
  }
  if (inputs.length > 0) {
    json.inputs = inputs.map((links) =>
      links.map(({ selector, link }) => (selector === '' ? { link } : { selector, link })),
    );
  }
  return json;
}

function readRecords(values: readonly unknown[], stackOf: (top: number) => number[]): ConfigRecord[] {
  let named = 0;
  const records = values.map((value): ConfigRecord => {
    const record = object(value, 'record');
    if (typeof record.digest !== 'string') throw bad('a record has no digest');
    const tops = list(record.layers, 'results').map((result) => {
      const layers = stackOf(index(object(result, 'result').layer, 'layer'));
      named += layers.length;
      if (named > maxNamed) throw bad('its results have too many layers');
      return layers;
    });
    const chains = list(record.chains, 'chains').map((chain) =>
      list(object(chain, 'chain').layers, 'layers').map((at) => index(at, 'layer')),
    );
    const inputs = list(record.inputs, 'inputs').map((links) =>
      list(links, 'links').map((link): ConfigLink => {
        const { selector = '', link: at } = object(link, 'link');
        if (typeof selector !== 'string') throw bad('a selector is no text');
        const target = index(at, 'record');
        if (target >= values.length) throw bad(`it names a record ${target} of ${values.length}`);
        return { selector, link: target };
      }),
    );
    const made = { digest: record.digest, results: [...tops, ...chains], inputs };
    if (sizeOf(made) > maxOfRecord) throw bad(`a record has more than ${maxOfRecord} layers and links`);
    return made;
  });
  refuseCircles(records);
  return records;
}

/** The number of the layers and links of a record. */
export function sizeOf({ results, inputs }: ConfigRecord): number {
  let size = 0;
  for (const list of results) size += list.length + 1;
  for (const links of inputs) size += links.length + 1;
  return size;
}

/** Throws `corrupt` when records are keyed by each other. */
function refuseCircles(records: readonly ConfigRecord[]): void {
  const waiting = records.map(({ inputs }) => inputs.flat().length);
  const users: number[][] = records.map(() => []);
  for (const [at, { inputs }] of records.entries())
    for (const { link } of inputs.flat()) users[link]?.push(at);
  const free = [...records.keys()].filter((at) => waiting[at] === 0);
  let seen = 0;
  for (let at = free.pop(); at !== undefined; at = free.pop()) {
    seen++;
    for (const user of users[at] ?? []) {
      const left = (waiting[user] as number) - 1;
      waiting[user] = left;
      if (left === 0) free.push(user);
    }
  }
  if (seen < records.length) throw bad('its records are keyed by each other in a circle');
}

function parseJson(bytes: Uint8Array): unknown {
  const text = Buffer.from(bytes).toString('utf8');
  if (jsonExcess(text, mostJson) !== undefined) throw bad('its config has more than any cache needs');
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw fail('corrupt', 'cache', 'its config is not JSON', { cause });
  }
}

function bad(why: string) {
  return fail('corrupt', 'cache', why);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function object(value: unknown, what: string): Record<string, unknown> {
  if (!isObject(value)) throw bad(`a ${what} is not a JSON object`);
  return value;
}

/** Reads a list: Go writes an empty one as null, or not at all. */
function list(value: unknown, what: string): unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw bad(`its ${what} are no list`);
  return value;
}

function index(value: unknown, what: string, least = 0): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least) return value;
  throw bad(`it names a ${what} ${JSON.stringify(value)}`);
}
