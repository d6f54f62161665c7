/** `GET /events`: the past and coming events of images and of the build cache. */

import { reaches, reachOf } from '../../../auth/index.ts';
import { type Filters, labelsMatch, readTime } from '../../../words/index.ts';
import type { ApiEvent } from '../../shared/events.ts';
import { engineEvents } from '../behind/merge.ts';
import { readFilters } from '../http/query.ts';
import type { Call, Route } from '../http/route.ts';
import { isBefore } from '../http/version.ts';

export const eventRoutes: Route[] = [
  { method: 'GET', path: '/events', scopes: ['system:read'], handle: streamEvents },
];

/** The filter names that dockerd knows. Names of things that are not here never match. */
const known = [
  'config',
  'container',
  'daemon',
  'event',
  'image',
  'label',
  'network',
  'node',
  'plugin',
  'scope',
  'secret',
  'service',
  'type',
  'volume',
];

/** How many bytes may pile up for a client before it is cut off. */
const maxPending = 4 << 20;

async function streamEvents(call: Call): Promise<undefined> {
  const { host, query, response, signal, request, authority, version } = call;
  const filters = readFilters(query, known);
  const now = Date.now();
  const since =
    query.has('since') && query.text('since') !== ''
      ? readTime(query.text('since'), 'since', now)
      : undefined;
  const until =
    query.has('until') && query.text('until') !== ''
      ? readTime(query.text('until'), 'until', now)
      : undefined;
  request.resume();
  const { type, text } = formOf(request.headers.accept ?? '', version);
  response.writeHead(200, { 'content-type': type });
  response.flushHeaders();
  const reach = reachOf(authority);
  const isFor = (event: ApiEvent) =>
    (event.owner === undefined || reaches(reach, event.owner)) &&
    matches(event, filters) &&
    (until === undefined || event.time <= until);
  const lineOf = (event: ApiEvent) => JSON.stringify(render(event, version));
  const write = (line: string) => {
    if (!response.writableEnded) response.write(text(line));
    if (response.writableLength > maxPending) response.destroy();
  };
  const past =
    since === undefined ? [] : host.events.past().filter((event) => event.time >= since && isFor(event));
  // Only what the engine has and Drydock has not: images are told of by Drydock.
  const theirs = (tell: (line: string, time: number) => void) =>
    host.behind &&
    authority.scopes.has('engine:read') &&
    engineEvents(host.behind, request.url ?? '/events', signal, tell);
  if (until !== undefined && until <= now) {
    const told = past.map((event) => ({ time: event.time, line: lineOf(event) }));
    await theirs((line, time) => void told.push({ time, line }));
    for (const { line } of told.sort((a, b) => a.time - b.time)) write(line);
    response.end();
    return undefined;
  }
  void theirs(write);
  for (const event of past) write(lineOf(event));
  const send = (event: ApiEvent) => {
    if (isFor(event)) write(lineOf(event));
  };
  const stop = host.events.listen(send);
  const timer =
    until === undefined ? undefined : setTimeout(() => response.end(), Math.min(until - now, 0x7fffffff));
  const end = () => {
    stop();
    clearTimeout(timer);
  };
  signal.addEventListener('abort', end, { once: true });
  response.once('close', end);
  return undefined;
}

/**
 * How events are written: as lines, or as a sequence (RFC 7464), each behind a record separator. Clients ask for one of
 * them by the header `Accept`, since 1.52.
 */
function formOf(accept: string, version: string): { type: string; text: (json: string) => string } {
  const lines = (type: string) => ({ type, text: (json: string) => `${json}\n` });
  if (isBefore(version, '1.52')) return lines('application/json');
  const offered = ['application/jsonl', 'application/x-ndjson', 'application/json-seq'];
  if (isBefore(version, '1.53')) offered.shift();
  const asked = accept.split(',').map((each) => each.split(';')[0]?.trim().toLowerCase() ?? '');
  const type = asked.find((each) => offered.includes(each));
  if (type === undefined) return lines('application/json');
  return type === 'application/json-seq' ? { type, text: (json) => `\x1e${json}\n` } : lines(type);
}

function matches(event: ApiEvent, filters: Filters): boolean {
  const any = (name: string, test: (value: string) => boolean) => {
    const values = filters.get(name);
    return values === undefined || values.some(test);
  };
  const things = [
    'config',
    'container',
    'daemon',
    'network',
    'node',
    'plugin',
    'secret',
    'service',
    'volume',
  ];
  if (things.some((name) => filters.has(name))) return false;
  const { name = '' } = event.attributes;
  return (
    any('type', (value) => value === event.type) &&
    any('event', (value) => value === event.action) &&
    any('scope', (value) => value === 'local') &&
    any(
      'image',
      (value) =>
        event.type === 'image' &&
        (value === event.id || value === name || name.replace(/:[^:/]*$/, '') === value),
    ) &&
    labelsMatch(filters, event.attributes)
  );
}

function render({ type, action, id, attributes, time }: ApiEvent, version: string): object {
  return {
    ...(type === 'image' && isBefore(version, '1.52') ? { status: action, id } : {}),
    Type: type,
    Action: action,
    Actor: { ID: id, Attributes: attributes },
    scope: 'local',
    time: Math.floor(time / 1000),
    timeNano: Math.round(time * 1000) * 1000,
  };
}
