/**
 * The networks of build steps, under the names that they have in every docker daemon: clients in a container look the
 * gateway of `bridge` up for the address of the machine. Networks that the operator has named are listed besides.
 */

import { createHash } from 'node:crypto';
import { boolFilter } from '../../../words/index.ts';
import type { ApiHost } from '../../shared/host.ts';
import { apiError } from '../http/errors.ts';
import { readFilters } from '../http/query.ts';
import type { Call, Route } from '../http/route.ts';

export const networkRoutes: Route[] = [
  { method: 'GET', path: '/networks', scopes: ['system:read'], handle: list },
  { method: 'GET', path: '/networks/*', scopes: ['system:read'], handle: inspect },
];

/** The networks as they are now. */
async function networksOf({ engine }: ApiHost) {
  const { hostAddress, subnets } = await engine.network
    .look()
    .catch(() => ({ hostAddress: '127.0.0.1', subnets: [] }));
  const subnet = subnets.find((each) => !each.includes(':')) ?? '127.0.0.0/8';
  return [
    network('bridge', 'bridge', [{ Subnet: subnet, Gateway: hostAddress }]),
    network('host', 'host', []),
    network('none', 'null', []),
    ...engine.network.names.map((name) => network(name, 'cni', [])),
  ];
}

function network(name: string, driver: string, config: { Subnet: string; Gateway: string }[]) {
  return {
    Name: name,
    Id: createHash('sha256').update(`drydock network ${name}`).digest('hex'),
    Created: '1970-01-01T00:00:00Z',
    Scope: 'local',
    Driver: driver,
    EnableIPv4: true,
    EnableIPv6: false,
    IPAM: { Driver: 'default', Options: null, Config: config },
    Internal: false,
    Attachable: false,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: {},
    Options: {},
    Labels: {},
  };
}

/** The filters are `name`, `id` (parts of them), `driver`, `type`, `scope`, `label` and `dangling`. */
async function list({ query, host }: Call) {
  const filters = readFilters(query, ['dangling', 'driver', 'id', 'label', 'name', 'scope', 'type']);
  const has = (name: string, test: (value: string) => boolean) => filters.get(name)?.some(test) ?? true;
  const dangling = boolFilter(filters, 'dangling') ?? false;
  const networks = await networksOf(host);
  const chosen = networks.filter(
    ({ Name, Id, Driver, Scope }) =>
      has('name', (value) => Name.includes(value)) &&
      has('id', (value) => Id.includes(value)) &&
      has('driver', (value) => Driver === value) &&
      has('scope', (value) => Scope === value) &&
      has('type', (value) => (value === 'builtin') === (Driver !== 'cni')) &&
      has('label', () => false) &&
      !dangling,
  );
  return { json: chosen };
}

async function inspect({ name, host }: Call) {
  const found = (await networksOf(host)).find(
    ({ Name, Id }) => Name === name || Id === name || (name.length >= 3 && Id.startsWith(name)),
  );
  if (found !== undefined) return { json: found };
  throw apiError(
    'not-found',
    `network ${name} not found`,
    'Drydock builds images and does not run containers: there are only the networks of build steps.',
  );
}
