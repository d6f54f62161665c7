/**
 * What is filed under a key of a fleet's cache: a JSON document of a few hundred bytes that names the layers of a step's
 * outputs. Pure.
 */
import { fail } from '../errors/index.ts';
import { chunkAnnotations, type Digest, isDigest, jsonExcess } from '../oci/index.ts';

/** A layer of an output. */
export interface EntryLayer {
  mediaType: string;
  digest: Digest;
  /** Bytes of the blob. */
  size: number;
  /** The digest of the uncompressed tar. */
  diffId: Digest;
  /** When it was made, ms since the epoch. */
  madeAt?: number;
  /** The step that made it. */
  madeBy?: string;
  /** How its files are read one by one, when they can be (`chunkAnnotations`). */
  annotations?: Record<string, string>;
}

export interface Entry {
  /** What the users of the step are keyed by. */
  id: Digest;
  /** The step, for people. */
  description: string;
  /** By output: its layers, lowest first; none: an empty tree. Nothing while `coming` is set. */
  outputs: readonly (readonly EntryLayer[])[];
  /** The layers are being written: the entry says that the step has been made, and is filed again when they are there. */
  coming?: Coming;
}

/** What is said of layers that are being written. */
export interface Coming {
  /** The writer: random. */
  writer: string;
  /** One more each time that the writer says that it is still at it (`beatEvery`). */
  beat: number;
  /** When it said so last, by the writer's clock, ms since the epoch. */
  at: number;
  /** How long the step took to make, ms. */
  took: number;
  /** How many outputs it has. */
  outputs: number;
}

/** How often a writer says that it is still at it, ms. */
export const beatEvery = 3000;
/** A writer that has said nothing for so long, by the clocks, is taken for dead, ms. */
const lost = 60_000;

/** Whether layers that are coming may still come. `modified`: when the entry was filed, where that is known. */
export function mayCome({ at }: Coming, modified: number | undefined, now: number): boolean {
  return Math.abs(now - (modified ?? at)) < lost;
}

/** The largest document, in bytes. */
export const maxEntry = 1 << 20;
const mostLayers = 1000;
const mostOutputs = 100;
const mostJson = { depth: 8, values: 100_000 };

export function encodeEntry({ id, description, outputs, coming }: Entry): Buffer {
  return Buffer.from(JSON.stringify({ v: 1, id, description: description.slice(0, 500), outputs, coming }));
}

/** Reads a document. Throws `corrupt` (hop `cache`) for one that is not sound. */
export function parseEntry(bytes: Uint8Array): Entry {
  const text = Buffer.from(bytes).toString('utf8');
  if (bytes.length > maxEntry || jsonExcess(text, mostJson) !== undefined) throw bad('it is too large');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw fail('corrupt', 'cache', 'what is filed under a key is not JSON', { cause });
  }
  const { v, id, description, outputs, coming } = object(value);
  if (v !== 1) throw bad(`its version is ${JSON.stringify(v)}`);
  if (typeof id !== 'string' || !isDigest(id)) throw bad('it has no id');
  return {
    id,
    description: typeof description === 'string' ? description : '',
    outputs: list(outputs, mostOutputs).map((layers) => list(layers, mostLayers).map(layerOf)),
    ...(coming === undefined ? {} : { coming: comingOf(coming) }),
  };
}

function comingOf(value: unknown): Coming {
  const { writer, beat, at, took, outputs } = object(value);
  const isNumber = (each: unknown): each is number => typeof each === 'number' && each >= 0;
  if (typeof writer !== 'string' || ![beat, at, took, outputs].every(isNumber))
    throw bad('it is not said what comes');
  if ((outputs as number) > mostOutputs) throw bad('it has too many outputs');
  return { writer, beat: beat as number, at: at as number, took: took as number, outputs: outputs as number };
}

function layerOf(value: unknown): EntryLayer {
  const { mediaType, digest, size, diffId, madeAt, madeBy, annotations } = object(value);
  if (typeof mediaType !== 'string' || typeof digest !== 'string' || !isDigest(digest))
    throw bad('a layer has no digest');
  if (typeof diffId !== 'string' || !isDigest(diffId)) throw bad('a layer has no digest');
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) throw bad('a layer has no size');
  const chunked =
    annotations === undefined ? undefined : chunkAnnotations({ annotations: object(annotations) });
  return {
    ...{ mediaType, digest, size, diffId },
    ...(chunked && { annotations: chunked }),
    ...(typeof madeAt === 'number' ? { madeAt } : {}),
    ...(typeof madeBy === 'string' ? { madeBy } : {}),
  };
}

function bad(why: string) {
  return fail('corrupt', 'cache', `what is filed under a key is not sound: ${why}`);
}

function object(value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as never;
  throw bad('it is no object');
}

function list(value: unknown, most: number): unknown[] {
  if (Array.isArray(value) && value.length <= most) return value;
  throw bad('it has no list, or one that is too long');
}
