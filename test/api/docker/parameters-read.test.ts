/** No parameter of the published Engine API (v1.56) is swallowed: each is read, refused by name, or true by nature. */
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { Query } from '../../../src/api/docker/http/query.ts';
import { routes } from '../../../src/api/docker/routes.ts';
import { startTestDaemon, type TestDaemon } from '../../kit/daemon.ts';

/** Endpoint → its query parameters. `*` stands for a name. */
const published: Record<string, string[]> = {
  'GET /images/*/attestations': ['platform', 'type', 'statement'],
  'GET /images/json': ['all', 'filters', 'shared-size', 'digests', 'manifests', 'identity'],
  'POST /build': [
    ...[
      'version',
      'dockerfile',
      't',
      'extrahosts',
      'remote',
      'q',
      'nocache',
      'cachefrom',
      'pull',
      'rm',
      'forcerm',
    ],
    ...['memory', 'memswap', 'cpushares', 'cpusetcpus', 'cpusetmems', 'cpuperiod', 'cpuquota', 'buildargs'],
    ...[
      'shmsize',
      'squash',
      'labels',
      'networkmode',
      'platform',
      'target',
      'outputs',
      'ulimits',
      'cgroupparent',
    ],
    ...['isolation', 'securityopt', 'session', 'buildid'],
  ],
  'POST /build/prune': [
    'keep-storage',
    'reserved-space',
    'max-used-space',
    'min-free-space',
    'all',
    'filters',
    'stream',
  ],
  'POST /build/cancel': ['id'],
  'POST /images/create': ['fromImage', 'fromSrc', 'repo', 'tag', 'message', 'changes', 'platform'],
  'GET /images/*/json': ['manifests', 'platform'],
  'GET /images/*/history': ['platform'],
  'POST /images/*/push': ['tag', 'platform'],
  'POST /images/*/tag': ['repo', 'tag'],
  'DELETE /images/*': ['force', 'noprune', 'platforms'],
  'POST /images/prune': ['filters', 'stream'],
  'POST /containers/prune': ['stream'],
  'POST /networks/prune': ['stream'],
  'POST /volumes/prune': ['stream'],
  'GET /images/search': ['term', 'limit', 'filters'],
  'GET /events': ['since', 'until', 'filters'],
  'GET /system/df': ['type', 'verbose'],
  'GET /images/*/get': ['platform'],
  'GET /images/get': ['names', 'platform'],
  'POST /images/load': ['quiet', 'platform'],
};

/** Parameters that ask for what is so in any case. */
const byNature: Record<string, Record<string, string>> = {
  'GET /images/json': {
    all: 'there are no intermediate images to leave out',
    digests: 'digests are always told',
  },
  'DELETE /images/*': { noprune: 'there are no untagged parents to keep' },
  'POST /build': {
    rm: 'a container does not outlive its step',
    forcerm: 'a container does not outlive its step',
  },
};

/** Values that are taken as they are; others are `1`. */
const values: Record<string, string> = {
  filters: '{}',
  platform: 'linux/amd64',
  platforms: '{"os":"linux","architecture":"amd64"}',
  since: '1',
  until: '1',
  type: 'image',
  remote: 'client-session',
  buildargs: '{}',
  labels: '{}',
  cachefrom: '[]',
  ulimits: '[]',
  outputs: '[]',
  securityopt: '[]',
  extrahosts: 'a:1.2.3.4',
  networkmode: 'none',
  isolation: 'default',
};

/** What else a request must have to get as far as a parameter. */
const needs: Record<string, (name: string) => string> = {
  'POST /images/create': (name) => (name === 'tag' ? 'fromImage=localhost:1/thing' : 'fromSrc=-'),
  'POST /images/*/tag': () => 'repo=other',
  'GET /images/get': () => 'names=thing',
  'GET /events': () => 'until=1',
};

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startTestDaemon();
  const built = await daemon.ask('POST', '/build?version=2&t=thing', { body: 'FROM scratch\nLABEL a=b\n' });
  expect(built.status).toBe(200);
});
afterAll(() => daemon.stop());
afterEach(() => {
  vi.restoreAllMocks();
});

for (const [endpoint, names] of Object.entries(published)) {
  test(endpoint, async () => {
    const read = new Set<string>();
    for (const way of ['text', 'all', 'has'] as const) {
      const real = Query.prototype[way] as (this: Query, name: string) => never;
      vi.spyOn(Query.prototype, way).mockImplementation(function (this: Query, name: string) {
        read.add(name);
        return real.call(this, name);
      });
    }
    const [method = '', pattern = ''] = endpoint.split(' ');
    const swallowed: string[] = [];
    for (const name of names) {
      read.clear();
      // Removing the image is left to the last of its parameters.
      const path = pattern.replace('*', method === 'DELETE' && name === 'force' ? 'nothing' : 'thing');
      const query = new URLSearchParams(needs[endpoint]?.(name));
      query.set(name, values[name] ?? '1');
      const { status, text } = await daemon.ask(method, `/v1.56${path}?${query}`);
      const refused = status === 501 || (status >= 400 && text.includes(name));
      if (!read.has(name) && !refused && byNature[endpoint]?.[name] === undefined) swallowed.push(name);
    }
    expect(swallowed).toEqual([]);
  });
}

test('every endpoint of the published API that is served is looked at', () => {
  const served = routes
    .map(({ method, path, suffix = '' }) => `${method} ${path}${suffix}`)
    .filter((endpoint) => /^\w+ \/(images|build|events|system)/.test(endpoint))
    // Drydock's own.
    .filter((endpoint) => endpoint !== 'GET /build/explain');
  expect(served.filter((endpoint) => published[endpoint] === undefined)).toEqual([]);
});
