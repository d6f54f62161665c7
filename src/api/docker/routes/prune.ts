/** `POST /build/prune`. */
import { type PruneOptions, prune } from '../../../build/disk-usage.ts';
import type { RecordType } from '../../../cache/cache.ts';
import { apiError } from '../http/errors.ts';
import { readDuration, readFilters } from '../http/query.ts';
import type { Call, Route } from '../http/route.ts';

export const pruneRoutes: Route[] = [
  { method: 'POST', path: '/build/prune', scopes: ['cache:prune'], handle: pruneCache },
];

const known = ['until', 'unused-for', 'id', 'type', 'parent', 'description', 'inuse', 'shared', 'private'];

async function pruneCache({ host, query }: Call) {
  const filters = readFilters(query, known);
  const options: PruneOptions = { all: query.bool('all') };
  for (const name of ['parent', 'description', 'inuse', 'shared', 'private']) {
    if (filters.has(name)) {
      throw apiError('unsupported', `the filter ${name} is not supported`, 'Use until, id or type.');
    }
  }
  const ages = [...(filters.get('until') ?? []), ...(filters.get('unused-for') ?? [])];
  for (const text of ages) {
    const age = readDuration(text);
    if (age === undefined) throw apiError('invalid', `${JSON.stringify(text)} is no duration such as 24h`);
    options.unusedFor = age;
  }
  const ids = filters.get('id');
  if (ids !== undefined) options.ids = [...ids];
  const types = filters.get('type');
  if (types !== undefined) options.types = types as RecordType[];
  const keep = query.int('keep-storage') ?? query.int('reserved-space') ?? query.int('max-used-space');
  if (keep !== undefined && keep > 0) options.keepBytes = keep;
  const { records, reclaimed } = await prune(host.engine, options);
  host.events.emit('builder', 'prune', '', { reclaimed: String(reclaimed) });
  return { json: { CachesDeleted: records.map(({ id }) => id), SpaceReclaimed: reclaimed } };
}
