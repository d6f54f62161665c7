/** `GET /build/explain`, which is Drydock's own: why steps of builds were not cached, and what differs between builds. */
import { cachesOf } from '../../../auth/index.ts';
import { apiError } from '../http/errors.ts';
import type { Call, Route } from '../http/route.ts';

export const explainRoutes: Route[] = [
  { method: 'GET', path: '/build/explain', scopes: ['system:read'], handle: explain },
];

async function explain({ host, query, authority }: Call) {
  const { engine } = host;
  if (engine.explain === undefined) {
    throw apiError(
      'unsupported',
      'this daemon keeps nothing of why steps run',
      'Its setting `explain` is off.',
    );
  }
  const { buildReport, comparedBuilds, listedBuilds } = await import('../../../explain/reports.ts');
  const place = { folder: engine.store.root, listDb: engine.explain.listDb, tenant: cachesOf(authority) };
  if (query.bool('list')) return { json: { builds: listedBuilds(place), steps: [] } };
  const [first, second, ...more] = query.all('build').filter((id) => id !== '');
  if (more.length > 0) throw apiError('invalid', 'explain compares two builds');
  return {
    json:
      first === undefined || second === undefined
        ? buildReport(place, first)
        : await comparedBuilds(place, first, second),
  };
}
