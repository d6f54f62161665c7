/** The routes of builds: their list, one build, its events, its logs, its documents. */
import { cachesOf, reachOf } from '../../auth/index.ts';
import { fail, toDrydockError } from '../../errors/index.ts';
import { drained } from '../../flow/index.ts';
import { inTurns, isDue, nextTurn } from '../../workers/index.ts';
import { archiveOf } from './archive.ts';
import { buildActions } from './build-actions.ts';
import type { FoundBuild } from './builds.ts';
import { beginEvents, eventText } from './event-stream.ts';
import { numberIn, type UiCall, type UiRoute } from './route.ts';
import type { StepLog } from './step-log.ts';
import type { BuildDetail, Compared } from './types.ts';

const mostBuilds = 10_000;
const mostLines = 5000;

export const buildRoutes: readonly UiRoute[] = [
  {
    method: 'GET',
    path: '/builds',
    scopes: ['build'],
    async handle({ builds, query, authority }) {
      const limit = numberIn(query, 'limit', { or: 1000, most: mostBuilds });
      return { json: await builds.list(reachOf(authority), query.getAll('filter'), limit) };
    },
  },
  { method: 'GET', path: '/events', scopes: ['build'], handle: events },
  {
    method: 'GET',
    path: '/builds/*',
    scopes: ['build'],
    handle: async (call) => ({ json: await whole(call, await found(call)) }),
  },
  {
    method: 'GET',
    path: '/builds/*/events',
    scopes: ['build'],
    async handle(call) {
      const build = await found(call);
      const { live, detail } = build;
      const { response } = call;
      const ended = live === undefined ? await whole(call, build) : undefined;
      beginEvents(response);
      if (live !== undefined) live.follow(response, detail);
      else response.end(eventText('build', ended) + eventText('end', {}));
      return undefined;
    },
  },
  { method: 'GET', path: '/builds/*/steps/*/log', scopes: ['build'], handle: log },
  { method: 'GET', path: '/builds/*/archive', scopes: ['build'], handle: archive },
  { method: 'GET', path: '/builds/*/documents/*', scopes: ['build'], handle: document },
  { method: 'GET', path: '/builds/*/compare/*', scopes: ['build'], handle: compared },
  ...buildActions,
];

const found = ({ builds, authority, names: [ref = ''] }: UiCall) => builds.find(reachOf(authority), ref);

const seesImages = ({ authority }: UiCall) => authority.scopes.has('images:read');

/** All of a build, with what is stated of its images for who may see these. */
async function whole(call: UiCall, { detail, attached }: FoundBuild): Promise<BuildDetail> {
  const build = detail();
  if (!seesImages(call)) return build;
  return { ...build, attestations: [...build.attestations, ...(await attached())] };
}

/** What differs between the steps of two builds, in explain's words; no steps where it knows nothing of one of them. */
async function compared({ host, builds, authority, names }: UiCall): Promise<{ json: Compared }> {
  const [first = '', second = ''] = await builds.explainedAs(reachOf(authority), names);
  const { explain, store } = host.engine ?? {};
  if (explain === undefined || store === undefined) return { json: { steps: [] } };
  const { comparedBuilds } = await import('../../explain/reports.ts');
  const place = { folder: store.root, listDb: explain.listDb, tenant: cachesOf(authority) };
  try {
    const { steps } = await comparedBuilds(place, first, second);
    return { json: { steps } };
  } catch (err) {
    if (toDrydockError(err).code !== 'not-found') throw err;
    return { json: { steps: [] } };
  }
}

/** Builds that begin, go on and end, for lists. */
function events({ builds, authority, response, signal }: UiCall): undefined {
  beginEvents(response);
  // A page that does not read is let go of, rather than kept in memory: it comes back and asks for the list.
  const write = (text: string) => {
    if (response.writableLength > 4 << 20) response.destroy();
    else response.write(text);
  };
  const stop = builds.listen(
    reachOf(authority),
    (build) => write(eventText('build', build)),
    (ref) => write(eventText('gone', { ref })),
  );
  response.once('close', stop);
  signal.addEventListener('abort', () => response.end(), { once: true });
  return undefined;
}

async function log(call: UiCall) {
  const { query, response, names } = call;
  const { model } = await found(call);
  const step = names[1] ?? '';
  const lines = model.logOf(step);
  if (lines === undefined) throw fail('not-found', 'client', `the build has no step ${step}`);
  if (query.get('format') === 'text') {
    await sendText(lines, call);
    return undefined;
  }
  const from = numberIn(query, 'from', { or: 0, most: Number.MAX_SAFE_INTEGER });
  const search = query.get('search');
  if (search !== null && search !== '')
    return { json: await inTurns(lines.search(search.slice(0, 1000), from)) };
  const count = numberIn(query, 'count', { or: 1000, most: mostLines });
  response.setHeader('cache-control', 'no-store');
  return { json: lines.lines(from, count) };
}

async function sendText(lines: StepLog, { response, signal }: UiCall): Promise<void> {
  response.writeHead(200, {
    'content-type': 'text/plain; charset=utf-8',
    'content-disposition': 'attachment; filename="step.log"',
    'cache-control': 'no-store',
  });
  for (const piece of lines.whole()) {
    if (signal.aborted) return;
    if (!response.write(piece)) await drained(response);
    else if (isDue()) await nextTurn();
  }
  response.end();
}

/** The build as a document of its own. */
async function archive(call: UiCall): Promise<undefined> {
  const { builds, authority, response, signal, names } = call;
  const build = await found(call);
  const { model } = build;
  const documents = new Map<string, string>();
  const detail = await whole(call, build);
  for (const { digest } of detail.attestations) {
    const bytes = await builds.document(reachOf(authority), names[0] ?? '', digest, seesImages(call));
    if (bytes !== undefined) documents.set(digest, bytes.toString('utf8'));
  }
  const pieces = archiveOf({ detail, model, documents });
  // What is wrong with the page's files is found before the answer begins.
  const first = await pieces.next();
  const name = (detail.images[0] ?? detail.ref).replace(/[^\w.-]+/g, '-').slice(-80);
  response.writeHead(200, {
    'content-type': 'text/html; charset=utf-8',
    'content-disposition': `attachment; filename="build-${name}.html"`,
    'cache-control': 'no-store',
  });
  if (first.value !== undefined) response.write(first.value);
  for await (const piece of pieces) {
    if (signal.aborted) return;
    if (!response.write(piece)) await drained(response);
  }
  response.end();
}

async function document(call: UiCall) {
  const { builds, authority, response, names } = call;
  const [ref = '', digest = ''] = names;
  const bytes = await builds.document(reachOf(authority), ref, digest, seesImages(call));
  if (bytes === undefined) throw fail('not-found', 'client', `the build has no document ${digest}`);
  response.writeHead(200, {
    'content-type': 'application/json',
    'content-length': bytes.length,
    'cache-control': 'no-store',
  });
  response.end(bytes);
  return undefined;
}
