/** Reads the config of a foreign cache, which comes from strangers, with turns for other work. */
import type { Digest } from '../oci/index.ts';
import { inTurns, runTask } from '../workers/index.ts';
import { readConfig } from './config-task.ts';
import type { ConfigLayer, ConfigRecord } from './format/config.ts';
import { KeyGraph } from './format/key-graph.ts';

interface CacheConfig {
  graph: KeyGraph;
  /** The layers, by number; none for an inline cache. */
  layers: ConfigLayer[];
  /** The document of the cache mounts, if the config names it. */
  mounts?: { digest: Digest; size: number };
}

/** A config that is read at once, in bytes. */
const small = 64 << 10;

/** `inline`: the number of the image's layers, when the records are inside of an image. Throws `corrupt` (hop `cache`). */
export async function readCacheConfig(bytes: Uint8Array, inline?: number): Promise<CacheConfig> {
  const args = { bytes, inline };
  const { layers, records, mounts } =
    bytes.length <= small ? readConfig(args) : await runTask('cache.config', args);
  return {
    graph: await inTurns(graphOf(records)),
    layers: JSON.parse(layers) as ConfigLayer[],
    mounts,
  };
}

function* graphOf(texts: readonly string[]): Generator<void, KeyGraph> {
  const records: ConfigRecord[] = [];
  for (const text of texts) {
    yield;
    for (const record of JSON.parse(text) as ConfigRecord[]) records.push(record);
  }
  return yield* KeyGraph.of(records);
}
