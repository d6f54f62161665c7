/** A build by our Dockerfile frontend that its `# syntax=` line hands to another: the request as options again. */
import type { DockerfileRequest, FrontendResult, Syntax } from '../../frontend/types.ts';
import { limitOptions, limitSteps } from '../../llb/limits.ts';
import { marshal, upload } from '../../llb/llb.ts';
import { formatPlatform } from '../../oci/platform.ts';
import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import { Bridge, type BridgeOptions } from './bridge.ts';
import { frontends } from './frontends.ts';
import { platformTargets } from './platforms.ts';

/** Has the frontend that a `# syntax=` line names build a request that did not come as options. */
export async function forwardBuild(
  bridgeOptions: BridgeOptions,
  request: DockerfileRequest,
  { image, cmdline, location }: Syntax,
): Promise<FrontendResult> {
  const { options, inputs } = optionsOf(request);
  const bridge = new Bridge(bridgeOptions, frontends);
  try {
    const asked = { frontend: 'gateway.v0', options: { ...options, source: image, cmdline }, inputs };
    const targets = platformTargets(await bridge.solve(asked));
    // Frontends of old know nothing of limits.
    for (const { definition } of targets) limitSteps(definition, request.limits);
    return { targets, warnings: [] };
  } catch (err) {
    if (err instanceof Error && 'source' in err) err.source ??= location;
    throw err;
  }
}

/** The options and inputs that say the same as a request; see `dockerfileRequest` for the other way. */
export function optionsOf(request: DockerfileRequest): {
  options: Record<string, string>;
  inputs: Record<string, Definition>;
} {
  const options: Record<string, string> = {};
  const inputs: Record<string, Definition> = {};
  const set = (name: string, value: string | undefined) => {
    if (value !== undefined && value !== '') options[name] = value;
  };
  const { context } = request;
  switch (context.type) {
    case 'local':
      if (context.name !== 'context') set('contextkey', context.name);
      if (request.dockerfileState === undefined)
        set('dockerfilekey', request.dockerfileLocal ?? context.name);
      break;
    case 'remote':
      set('context', context.url);
      set('dockerfilekey', request.dockerfileLocal);
      break;
    case 'upload':
      inputs.context = marshal(upload(context.id));
      inputs.dockerfile = inputs.context;
      break;
    case 'state':
      inputs.context = marshal(context.state);
      inputs.dockerfile = inputs.context;
      break;
  }
  if (request.dockerfileState !== undefined) inputs.dockerfile = marshal(request.dockerfileState);
  for (const [name, id] of Object.entries(request.localSessions ?? {})) set(`local-sessionid:${name}`, id);
  set('filename', request.dockerfile);
  set('contextsubdir', request.contextSubdir);
  set('target', request.target);
  for (const [name, value] of Object.entries(request.buildArgs)) options[`build-arg:${name}`] = value;
  for (const [name, value] of Object.entries(request.labels)) options[`label:${name}`] = value;
  for (const [name, value] of Object.entries(request.namedContexts)) options[`context:${name}`] = value;
  for (const [name, { state }] of Object.entries(request.inputs ?? {})) inputs[name] = marshal(state);
  set('platform', request.platforms.map(formatPlatform).join(','));
  if (request.noCache) options['no-cache'] = '';
  else set('no-cache', request.noCacheFilter.join(','));
  if (request.pull) options['image-resolve-mode'] = 'pull';
  if (request.network !== 'default') options['force-network-mode'] = request.network;
  set('add-hosts', request.extraHosts.map(({ host, ip }) => `${host}=${ip}`).join(','));
  if (request.shmSize > 0) options['shm-size'] = String(request.shmSize);
  set('ulimit', request.ulimits.map(({ name, soft, hard }) => `${name}=${soft}:${hard}`).join(','));
  set('hostname', request.hostname);
  set('cgroup-parent', request.cgroupParent);
  Object.assign(options, limitOptions(request.limits));
  return { options, inputs };
}
