/** `GET /events`: the past and coming events of images and of the build cache. */
import { reaches, reachOf } from '../../../auth/index.ts';
import type { ApiEvent } from '../../shared/events.ts';
import { type Filters, labelsMatch, readFilters, readTime } from '../http/query.ts';
import type { Call, Route } from '../http/route.ts';

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

function streamEvents({ host, query, response, signal, request, authority }: Call): undefined {
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
  response.writeHead(200, { 'content-type': 'application/json' });
  response.flushHeaders();
  const reach = reachOf(authority);
  const send = (event: ApiEvent) => {
    if (event.owner !== undefined && !reaches(reach, event.owner)) return;
    if (!matches(event, filters) || (until !== undefined && event.time > until)) return;
    response.write(`${JSON.stringify(render(event))}\n`);
    if (response.writableLength > maxPending) response.destroy();
  };
  if (since !== undefined) for (const event of host.events.past()) if (event.time >= since) send(event);
  if (until !== undefined && until <= now) {
    response.end();
    return undefined;
  }
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

function render({ type, action, id, attributes, time }: ApiEvent): object {
  return {
    ...(type === 'image' ? { status: action, id } : {}),
    Type: type,
    Action: action,
    Actor: { ID: id, Attributes: attributes },
    scope: 'local',
    time: Math.floor(time / 1000),
    timeNano: Math.round(time * 1000) * 1000,
  };
}
