/** Reads the config of a foreign cache on a thread: one of many MB is seconds of work. */
import {
  type CacheConfig,
  type ConfigLayer,
  type ConfigRecord,
  parseCacheConfig,
  parseInlineRecords,
  sizeOf,
} from './format/config.ts';

interface ConfigArgs {
  bytes: Uint8Array;
  /** The number of the image's layers, when the records are an inline cache's. */
  inline?: number;
}

/** The layers, and the records, in JSON, some hundreds of the latter to a text. */
interface ConfigTexts {
  layers: string;
  records: string[];
  mounts: CacheConfig['mounts'];
}

/** The size of the records in one text: what parses in a few ms. */
const together = 20_000;

/** Checks a config, and gives it in pieces that can be parsed in turns. Throws `corrupt`. */
export function readConfig({ bytes, inline }: ConfigArgs): ConfigTexts {
  const { layers, records, mounts }: CacheConfig =
    inline === undefined
      ? parseCacheConfig(bytes)
      : { layers: [], records: parseInlineRecords(bytes, inline) };
  const texts: string[] = [];
  let some: ConfigRecord[] = [];
  let size = 0;
  for (const record of records) {
    some.push(record);
    size += sizeOf(record) + 10;
    if (size < together) continue;
    texts.push(JSON.stringify(some));
    some = [];
    size = 0;
  }
  texts.push(JSON.stringify(some));
  return { layers: JSON.stringify(layers satisfies ConfigLayer[]), records: texts, mounts };
}
