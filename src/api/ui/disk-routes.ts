/** The routes of the disk: what the cache holds and why, what a prune would free, and pruning by selection. */
import { cachesOf } from '../../auth/index.ts';
import type { Engine } from '../../engine/index.ts';
import { fail } from '../../errors/index.ts';
import {
  foreseePrune,
  type PruneOptions,
  prune,
  readPruneChoice,
  splitPruneFilters,
} from '../../upkeep/index.ts';
import { readJsonBody } from '../docker/http/body.ts';
import { diskOf } from './disk-usage.ts';
import { engineOf, numberIn, type UiCall, type UiRoute } from './route.ts';
import type { PruneAnswer } from './types.ts';

const mostRecords = 5000;
/** A body of a MiB has no more. */
const mostIds = 10_000;

export const diskRoutes: readonly UiRoute[] = [
  { method: 'GET', path: '/disk', scopes: ['cache:read'], handle: usage },
  { method: 'POST', path: '/disk/prune', scopes: ['cache:prune'], handle: pruneDisk },
];

async function usage({ host, query, authority, signal }: UiCall) {
  const sort = query.get('sort') ?? 'used';
  if (sort !== 'used' && sort !== 'size') {
    throw fail('invalid', 'client', `sort must be used or size, not ${JSON.stringify(sort)}`);
  }
  const limit = numberIn(query, 'limit', { or: 1000, most: mostRecords });
  const choice = readChoice(query.getAll('filter'));
  return {
    json: await diskOf(engineOf(host), { ...choice, sort, limit, owner: cachesOf(authority), signal }),
  };
}

async function pruneDisk({ host, request, authority }: UiCall): Promise<{ json: PruneAnswer }> {
  const engine = engineOf(host);
  const { dryRun, ...asked } = pruneOptions(await readJsonBody(request));
  const options = { ...asked, owner: cachesOf(authority) };
  if (dryRun) {
    const { records, size, freed } = await foreseePrune(engine, options);
    return { json: { records: records.length, size, freed } };
  }
  return { json: await pruneNow(engine, options, host) };
}

async function pruneNow(
  engine: Engine,
  options: PruneOptions,
  { events }: UiCall['host'],
): Promise<PruneAnswer> {
  const { records, reclaimed } = await prune(engine, options);
  events?.emit('builder', 'prune', '', { reclaimed: String(reclaimed) });
  const size = records.reduce((sum, record) => sum + record.size, 0);
  return { records: records.length, size, freed: reclaimed };
}

/** The names of a prune's body, and what each must be. */
const fields: Record<string, (value: unknown) => boolean> = {
  dryRun: (value) => typeof value === 'boolean',
  all: (value) => typeof value === 'boolean',
  ids: isTexts,
  filters: isTexts,
  keepBytes: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
};

/** Reads the body of a prune. A body that chooses nothing would remove everything, so it must say so. Throws `invalid`. */
function pruneOptions(body: Record<string, unknown>): PruneOptions & { dryRun: boolean } {
  for (const [name, value] of Object.entries(body)) {
    if (fields[name]?.(value)) continue;
    throw fail(
      'invalid',
      'client',
      `${JSON.stringify(name)} cannot be ${JSON.stringify(value).slice(0, 100)}`,
      {
        hint: 'A prune has ids and filters (lists of texts), keepBytes (a number), all and dryRun (true or false).',
      },
    );
  }
  const {
    dryRun = false,
    all,
    ids,
    filters,
    keepBytes,
  } = body as {
    dryRun?: boolean;
    all?: boolean;
    ids?: string[];
    filters?: string[];
    keepBytes?: number;
  };
  if (ids === undefined && filters === undefined && keepBytes === undefined && all === undefined) {
    throw fail('invalid', 'client', 'this prune does not say what it is to remove', {
      hint: 'Give ids, filters or keepBytes; `"all": false` removes everything that nothing uses, and true all the rest too.',
    });
  }
  if ((ids?.length ?? 0) > mostIds) {
    throw fail('invalid', 'client', `a prune takes at most ${mostIds} ids, not ${ids?.length}`);
  }
  const { unusedFor, fits } = readChoice(filters ?? []);
  const chosen = ids && new Set(ids);
  return {
    dryRun,
    all,
    keepBytes,
    unusedFor,
    fits: chosen === undefined ? fits : (record) => chosen.has(record.id) && fits?.(record) !== false,
    by: 'a prune from the web page',
  };
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((each) => typeof each === 'string');
}

/** Reads filters as `drydock prune --filter` takes them: `type=regular`, `until=24h`, `description~=apt`. Throws `invalid`. */
const readChoice = (texts: readonly string[]) => readPruneChoice(splitPruneFilters(texts));
