/** `GET /build/explain`, which is Drydock's own: why steps of builds were not cached, and what differs between builds. */
import { cachesOf, reachOf } from '../../../auth/index.ts';
import { explainedAs } from '../../buildkit/history/explained-as.ts';
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
  const words = query.all('build').filter((id) => id !== '');
  if (words.length > 2) throw apiError('invalid', 'explain compares two builds');
  const history = host.observed?.history;
  const [first, second] =
    history === undefined ? words : await explainedAs(history, reachOf(authority), words);
  return {
    json:
      first === undefined || second === undefined
        ? buildReport(place, first)
        : await comparedBuilds(place, first, second),
  };
}
