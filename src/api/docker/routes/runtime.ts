/**
 * The endpoints of the container runtime. Drydock has no containers and volumes, and of networks only those of build
 * steps. Lists are therefore empty, pruning does nothing, single things are not found, and a request that would make or
 * run one is refused.
 */
import type { DrydockError } from '../../../errors/index.ts';
import { runtimePart } from '../behind/paths.ts';
import { apiError } from '../http/errors.ts';
import { pruned } from '../http/pruned.ts';
import type { Call, Route } from '../http/route.ts';

const empty = (path: string, json: unknown): Route => ({
  method: 'GET',
  path,
  scopes: ['system:read'],
  handle: () => ({ json }),
});

const nothingToPrune = (path: string, json: object): Route => ({
  method: 'POST',
  path,
  scopes: ['system:read'],
  handle: (call) => pruned(call, json),
});

/**
 * Answers 404. Clients that are given a name look for a container first, and go on when there is none. `prefix` comes
 * before the name.
 */
const noSuch = (
  what: string,
  path: string,
  { suffix, prefix = '', scopes = ['system:read'] }: Partial<Route> & { prefix?: string } = {},
): Route => ({
  method: 'GET',
  path: `${path}${prefix}*`,
  suffix,
  scopes,
  handle({ name }: Call) {
    throw apiError(
      'not-found',
      `No such ${what}: ${prefix}${name}`,
      'Drydock builds images and does not run containers.',
    );
  },
});

export const runtimeRoutes: Route[] = [
  empty('/containers/json', []),
  empty('/volumes', { Volumes: [], Warnings: null }),
  empty('/plugins', []),
  nothingToPrune('/containers/prune', { ContainersDeleted: null, SpaceReclaimed: 0 }),
  nothingToPrune('/networks/prune', { NetworksDeleted: null }),
  nothingToPrune('/volumes/prune', { VolumesDeleted: null, SpaceReclaimed: 0 }),
  // Where buildx may not build, it looks for a builder of its own in a container: what it lacks is the right to build.
  noSuch('container', '/containers/', { prefix: 'buildx_buildkit_', suffix: '/json', scopes: ['build'] }),
  noSuch('container', '/containers/', { suffix: '/json' }),
  noSuch('plugin', '/plugins/', { suffix: '/json' }),
  noSuch('volume', '/volumes/'),
];

/** The refusal of a path (without version) of the container runtime; undefined for other paths. */
export function runtimeRefusal(path: string): DrydockError | undefined {
  const first = runtimePart(path);
  if (first === undefined) return undefined;
  return apiError(
    'unsupported',
    `Drydock builds images and does not run containers: /${first} is not served`,
    'Start the daemon with --engine unix:///var/run/docker.sock: what it does not do itself then goes to that Docker engine.',
  );
}
