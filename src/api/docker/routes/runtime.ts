/** Endpoints of the container runtime: Drydock builds images and does not run them. */
import type { DrydockError } from '../../../errors/error.ts';
import { apiError } from '../http/errors.ts';

const areas = [
  'commit',
  'configs',
  'containers',
  'exec',
  'networks',
  'nodes',
  'plugins',
  'secrets',
  'services',
  'swarm',
  'tasks',
  'volumes',
];

/** What a request for one of them is told; undefined for any other path. */
export function runtimeRefusal(url: string): DrydockError | undefined {
  const area = /^\/([a-z]+)(?:[/?]|$)/.exec(url)?.[1];
  if (area === undefined || !areas.includes(area)) return undefined;
  return apiError(
    'unsupported',
    `Drydock builds images and does not run containers: there is no /${area} here`,
    'Point the client that runs containers at a container engine, and only builds at Drydock.',
  );
}
