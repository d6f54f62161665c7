/** `drydock store migrate`: copies images and cache records of one store to another. It removes nothing. */
import type { Cache } from '../../cache/index.ts';
import { DrydockError, toDrydockError } from '../../errors/index.ts';
import { familiarName, normalizeName } from '../../oci/index.ts';
import type { RegistryClient } from '../../registry/index.ts';
import type { Store } from '../../store/index.ts';
import type { MigrationEnds } from './blobs.ts';
import { migrateRecord } from './cache.ts';
import { migrateImage } from './images.ts';

interface MigrateOptions {
  /** Copies only these images, and no cache records; default: everything. */
  names?: readonly string[];
  /** Copies cache records, too; default: true unless names are given. */
  cache?: boolean;
  signal?: AbortSignal;
  onProgress?(state: { done: number; total: number; what: string; bytes: number }): void;
}

interface MigrateReport {
  images: { moved: string[]; there: number; taken: string[] };
  records: { moved: number; there: number; left: number };
  /** Bytes that were copied. */
  bytes: number;
  /** A sentence for each thing that could not be copied. The rest was copied. */
  problems: string[];
}

/** An open store with its cache; an engine is one. */
interface Side {
  store: Store;
  cache: Cache;
  registry: RegistryClient;
}

/**
 * Copies images, then cache records. Things that are there already are left as they are. It can therefore be run again,
 * and goes on where an interrupted run ended. Throws `not-found` for a name that no image has, `canceled`, and failures
 * of the stores themselves (`unavailable`, `exhausted`). The failure of one image or record is in the report.
 */
export async function migrateStore(
  from: Side,
  to: Side,
  options: MigrateOptions = {},
): Promise<MigrateReport> {
  const report: MigrateReport = {
    images: { moved: [], there: 0, taken: [] },
    records: { moved: 0, there: 0, left: 0 },
    bytes: 0,
    problems: [],
  };
  const id = `migrate-${crypto.randomUUID()}`;
  const route: MigrationEnds = {
    from: from.store,
    to: to.store,
    leases: { from: id, to: id },
    signal: options.signal,
    copied(bytes) {
      report.bytes += bytes;
    },
  };
  const images = await chosenImages(from, options.names);
  const entries = (options.cache ?? options.names === undefined) ? from.cache.entries() : [];
  const total = images.length + entries.length;
  let done = 0;
  const each = async (what: string, work: () => Promise<void>) => {
    options.onProgress?.({ done, total, what, bytes: report.bytes });
    try {
      await work();
    } catch (err) {
      if (!(err instanceof DrydockError) || ['canceled', 'unavailable', 'exhausted'].includes(err.code))
        throw err;
      report.problems.push(`${what}: ${toDrydockError(err).message}`);
    }
    done++;
  };
  await from.store.leases.create(id);
  try {
    await to.store.leases.create(id);
    for (const record of images) {
      const name = familiarName(record.name);
      await each(`image ${name}`, async () => {
        const outcome = await migrateImage(route, from.registry, record);
        if (outcome === 'there') report.images.there++;
        else report.images[outcome].push(name);
      });
    }
    for (const entry of entries) {
      const { description, id: digest } = entry.record;
      await each(`cache record ${description || digest}`, async () => {
        report.records[await migrateRecord(route, to.cache, entry)]++;
      });
    }
    options.onProgress?.({ done, total, what: '', bytes: report.bytes });
  } finally {
    await from.store.leases.delete(id);
    await to.store.leases.delete(id);
  }
  // Blobs that were made for the journey alone.
  await from.store.gc();
  await to.store.gc();
  return report;
}

async function chosenImages({ store }: Side, names: readonly string[] | undefined) {
  const all = await store.images.list();
  if (names === undefined) return all;
  return names.map((name) => {
    const normalized = normalizeName(name);
    const found = all.find((record) => record.name === normalized);
    if (found !== undefined) return found;
    throw new DrydockError(`No such image: ${name}`, {
      code: 'not-found',
      hop: 'store',
      hint: `The ${store.kind} store has: ${all.map((record) => familiarName(record.name)).join(', ') || 'none'}.`,
    });
  });
}
