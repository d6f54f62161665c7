/**
 * `keep=` and `max-size=` of a cache in a bucket. Each export leaves a record of what it names, beside its config. What
 * only exports name that do not stay is removed: the blobs first, their record last, so that whoever goes on after a
 * crash finds out again. Configs of all names below the same prefix are read before, as blobs are theirs, too.
 */
import { randomUUID } from 'node:crypto';
import { fail } from '../../errors/index.ts';
import { inParallel } from '../../flow/index.ts';
import { type ObjectInfo, type ObjectStore, troubleOf } from '../../object-store/index.ts';
import { type Digest, digestOf, isDigest } from '../../oci/index.ts';
import { maxCacheConfig } from '../format/config.ts';
import { parseMounts } from '../format/mounts.ts';
import { readCacheConfig } from '../read-config.ts';
import type { BucketPlace } from '../shelf/place.ts';
import {
  type ExportRecord,
  encodeRecord,
  maxRecord,
  parseRecord,
  readRecordKey,
  recordKey,
  recordsOfConfig,
} from './records.ts';
import { howMany, type KeepRule, type KeptBlob } from './rule.ts';

interface Call {
  signal?: AbortSignal;
}

/** The longest time that an export takes, ms. */
const longest = 24 * 3600_000;
/** Documents that are read at one time. */
const atOnce = 8;

/** A record that the bucket lists. */
type FoundRecord = ObjectInfo & { config: string; kind: 'coming' | 'done' };

export class BucketKeeping {
  readonly #store: ObjectStore;
  readonly #place: BucketPlace;
  readonly #rule: KeepRule;
  readonly #unique = randomUUID();
  readonly #begun = new Date();
  /** The records of this export, by config. */
  readonly #filed = new Map<string, string>();

  constructor(store: ObjectStore, place: BucketPlace, rule: KeepRule) {
    this.#store = store;
    this.#place = place;
    this.#rule = rule;
  }

  /**
   * Says, before any blob is looked for, what the export is going to name: others then leave it there. A config that
   * was written without a record, by BuildKit or without a rule, has one from now on: it is an older export then.
   */
  async announce(blobs: readonly KeptBlob[], call: Call): Promise<void> {
    const record = encodeRecord({ config: digestOf(''), blobs });
    await inParallel(this.#place.configs, async (config) => {
      await this.#adopt(config, call);
      await this.#store.put(recordKey(config, 'coming', this.#begun, this.#unique), record, call);
    });
  }

  async #adopt(name: string, call: Call): Promise<void> {
    const bytes = await this.#read(name, maxCacheConfig, call);
    if (bytes === undefined) return;
    const config = digestOf(bytes);
    const { records } = await this.#list(recordsOfConfig(name), call);
    const last = newestFirst(records.filter(({ kind }) => kind === 'done'))[0];
    if (last && (await this.#record(last.key, call))?.config === config) return;
    // What cannot be read is no export, and the new one takes its place.
    const blobs = await this.#blobsIn(bytes, call).catch(() => undefined);
    if (blobs === undefined) return;
    const key = recordKey(name, 'done', this.#begun, this.#unique);
    await this.#store.put(key, encodeRecord({ config, blobs }), call);
  }

  /** Files the export, whose config is there. One of the same contents as the last is that one. */
  async file(config: Buffer, blobs: readonly KeptBlob[], call: Call): Promise<void> {
    const record = { config: digestOf(config), blobs };
    await inParallel(this.#place.configs, async (name) => {
      const { records } = await this.#list(recordsOfConfig(name), call);
      const last = newestFirst(records.filter(({ kind }) => kind === 'done'))[0];
      const isSame = last && (await this.#record(last.key, call))?.config === record.config;
      const key = isSame ? last.key : recordKey(name, 'done', new Date(), this.#unique);
      await this.#store.put(key, encodeRecord(record), call);
      this.#filed.set(name, key);
    });
  }

  /** Removes what only exports need that do not stay. Throws the bucket's errors; nothing that is needed is gone then. */
  async sweep(call: Call): Promise<void> {
    const { configs, records } = await this.#list(this.#place.prefixes.configs, call);
    const own = [...this.#filed.values()].map((key) => records.find((each) => each.key === key));
    // A bucket that lists late: what is there is not known, and the next export will see.
    if (!own.every((each) => each !== undefined)) return;
    // The bucket's clock, which may be another than this machine's.
    const now = Math.max(...own.map(({ modified }) => modified));
    const gone = records.filter(
      ({ key, kind, modified }) =>
        kind === 'coming' && (key.endsWith(this.#unique) || now - modified > longest),
    );
    for (const config of this.#place.configs) gone.push(...(await this.#overdue(config, records, call)));
    const doomed = new Set(await this.#blobsOf(gone, call));
    if (doomed.size > 0) {
      const stays = records.filter((record) => !gone.includes(record));
      for (const digest of await this.#blobsOf(stays, call)) doomed.delete(digest);
      for (const digest of await this.#named(configs, call)) doomed.delete(digest);
      const keys = [...doomed].map((digest) => this.#place.blob(digest));
      if (keys.length > 0) await this.#store.delete(keys, call);
    }
    const outdated = gone.map(({ key }) => key);
    if (outdated.length > 0) await this.#store.delete(outdated, call);
  }

  /** The exports of a config that do not stay. */
  async #overdue(config: string, records: readonly FoundRecord[], call: Call): Promise<FoundRecord[]> {
    const done = newestFirst(records.filter((each) => each.config === config && each.kind === 'done'));
    const { bytes, count } = this.#rule;
    if (bytes === undefined) return done.slice(count);
    const blobs = await inParallel(
      done.slice(0, count),
      async ({ key }) => (await this.#record(key, call))?.blobs ?? [],
      atOnce,
    );
    return done.slice(howMany(blobs, this.#rule));
  }

  /** The blobs that records name. */
  async #blobsOf(records: readonly FoundRecord[], call: Call): Promise<Digest[]> {
    const read = await inParallel(records, ({ key }) => this.#record(key, call), atOnce);
    return read.flatMap((record) => record?.blobs.map(({ digest }) => digest) ?? []);
  }

  /** The blobs that configs name. Throws for a document that is no config: what it needs is not known. */
  async #named(configs: readonly string[], call: Call): Promise<Digest[]> {
    const named = await inParallel(
      configs,
      async (key) => {
        const bytes = await this.#read(key, maxCacheConfig, call);
        if (bytes === undefined) return [];
        const blobs = await this.#blobsIn(bytes, call).catch((cause) => {
          throw fail('corrupt', 'cache', `${key} is no config of a cache`, {
            cause,
            hint: 'What it needs is not known: nothing is removed. Give caches a prefix of their own.',
          });
        });
        return blobs.map(({ digest }) => digest);
      },
      atOnce,
    );
    return named.flat();
  }

  /** The blobs that a config names, and those of its cache mounts. Throws `corrupt`. */
  async #blobsIn(config: Buffer, call: Call): Promise<KeptBlob[]> {
    const { layers, mounts } = await readCacheConfig(config);
    const blobs = layers.map(({ blob, about }) => ({ digest: blob, size: about?.size ?? 0 }));
    if (mounts === undefined) return blobs;
    const document = await this.#read(this.#place.blob(mounts.digest), maxCacheConfig, call);
    const inMounts = document === undefined ? [] : parseMounts(document);
    return [
      ...blobs,
      mounts,
      ...inMounts.flatMap((mount) => mount.layers.map(({ digest, size }) => ({ digest, size }))),
    ];
  }

  /** What is below a prefix of configs. */
  async #list(prefix: string, call: Call) {
    const { blobs } = this.#place.prefixes;
    const configs: string[] = [];
    const records: FoundRecord[] = [];
    for await (const page of this.#store.list(prefix, call)) {
      for (const info of page) {
        const record = readRecordKey(info.key);
        if (record !== undefined) records.push({ ...info, config: record.config, kind: record.kind });
        else if (!(info.key.startsWith(blobs) && isDigest(info.key.slice(blobs.length))))
          configs.push(info.key);
      }
    }
    return { configs, records };
  }

  /** A record; undefined when it is gone. */
  async #record(key: string, call: Call): Promise<ExportRecord | undefined> {
    const bytes = await this.#read(key, maxRecord, call);
    return bytes && parseRecord(bytes, key);
  }

  async #read(key: string, most: number, { signal }: Call): Promise<Buffer | undefined> {
    try {
      const { size, stream } = await this.#store.get(key, { signal });
      if (size > most) {
        stream.destroy();
        throw fail('exhausted', 'cache', `${key} has ${size} bytes, more than ${most}`);
      }
      return Buffer.concat(await stream.toArray());
    } catch (err) {
      if (troubleOf(err) === 'not-found') return undefined;
      throw err;
    }
  }
}

/** In the order of the bucket's clock, which may count seconds; then in that of the writers'. */
function newestFirst(records: readonly FoundRecord[]): FoundRecord[] {
  return [...records].sort((a, b) => b.modified - a.modified || (a.key < b.key ? 1 : -1));
}
