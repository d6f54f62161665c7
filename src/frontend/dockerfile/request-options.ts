/**
 * A request to our Dockerfile frontend, and the options of `dockerfile.v0` as buildx and buildctl give them: each is
 * made of the other. https://github.com/moby/buildkit/blob/master/frontend/dockerui/config.go has the options' names.
 */

import { isIP } from 'node:net';
import { fail, prefixed } from '../../errors/index.ts';
import {
  fromDefinition,
  limitOptions,
  marshal,
  parseLimits,
  parseNetwork,
  parseUlimit,
  upload,
} from '../../llb/index.ts';
import {
  distinctPlatforms,
  formatPlatform,
  type ImageConfig,
  type Platform,
  type PullPolicy,
  parsePlatform,
  pullPolicyOf,
  resolveModeOf,
} from '../../oci/index.ts';
import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import { csvFields, csvLine, isRemoteUrl, parseBool } from '../../words/index.ts';
import type { ContextSource, DockerfileRequest } from '../types.ts';
import { withPrefix } from './with-prefix.ts';

type Options = Readonly<Record<string, string>>;

/** A request as it crosses BuildKit's API: the frontend's options, and the trees that are handed to it. */
export interface FrontendOptions {
  options: Options;
  inputs: Readonly<Record<string, Definition>>;
}

/** The value of an option; undefined when the option is missing or empty. */
function option(options: Options, name: string): string | undefined {
  return Object.hasOwn(options, name) && options[name] !== '' ? options[name] : undefined;
}

/** Makes the request of options. Throws `invalid` (hop `frontend`) for an option whose value cannot be read. */
export function dockerfileRequest({ options, inputs }: FrontendOptions): DockerfileRequest {
  const noCache = options['no-cache'];
  const hostArg = option(options, 'build-arg:BUILDKIT_SANDBOX_HOSTNAME');
  return {
    ...contextOf(options, inputs),
    localSessions: withPrefix(options, 'local-sessionid:'),
    target: option(options, 'target'),
    buildArgs: withPrefix(options, 'build-arg:'),
    labels: withPrefix(options, 'label:'),
    multiPlatform: multiPlatform(option(options, 'multi-platform')),
    platforms: distinctPlatforms(
      (option(options, 'platform') ?? '').split(',').filter((text) => text !== ''),
      targetPlatform,
    ),
    noCache: noCache === '',
    noCacheFilter: noCache === undefined || noCache === '' ? [] : listOf(noCache, 'no-cache'),
    pull: pullOf(option(options, 'image-resolve-mode')),
    ...parseNetwork(option(options, 'force-network-mode') ?? ''),
    extraHosts: hostsOf(option(options, 'add-hosts')),
    shmSize: whole(options, 'shm-size') ?? 0,
    ulimits: ulimitsOf(option(options, 'ulimit')),
    namedContexts: withPrefix(options, 'context:'),
    inputs: namedInputs(options, inputs),
    hostname: hostArg ?? option(options, 'hostname'),
    cgroupParent: option(options, 'cgroup-parent'),
    limits: parseLimits((name) => option(options, name)),
    check: options.requestid === 'frontend.lint',
  };
}

function multiPlatform(text: string | undefined): boolean | undefined {
  if (text === undefined) return undefined;
  const wanted = parseBool(text);
  if (wanted === undefined) throw invalid(`invalid boolean value for multi-platform: ${text}`);
  return wanted;
}

function targetPlatform(text: string): Platform {
  try {
    return parsePlatform(text);
  } catch (err) {
    throw prefixed(err, `failed to parse target platform ${text}`);
  }
}

function invalid(message: string): Error {
  return fail('invalid', 'frontend', message);
}

function contextOf(
  options: Options,
  inputs: Readonly<Record<string, Definition>>,
): Pick<
  DockerfileRequest,
  'context' | 'dockerfile' | 'dockerfileLocal' | 'dockerfileState' | 'contextSubdir'
> {
  const key = option(options, 'contextkey') ?? 'context';
  const dockerfileKey = option(options, 'dockerfilekey');
  const dockerfile = option(options, 'filename');
  const contextSubdir = option(options, 'contextsubdir');
  const given = option(options, key);
  const upload = given === undefined ? undefined : /^https?:\/\/buildkit-session\/([\w-]+)$/.exec(given)?.[1];
  let context: ContextSource;
  if (upload !== undefined) context = { type: 'upload', id: upload };
  else if (given !== undefined && isRemoteUrl(given)) {
    context = { type: 'remote', url: given };
  } else if (inputs.context !== undefined) {
    context = { type: 'state', state: fromDefinition(inputs.context) };
  } else context = { type: 'local', name: key };
  const handed = dockerfileKey === undefined ? inputs.dockerfile : undefined;
  if (handed !== undefined) {
    if (handed.def.length === 0) {
      throw fail('invalid', 'frontend', 'invalid nil input definition to definition op: dockerfile', {
        hint: 'The input "dockerfile" has no file in it; give one with a Dockerfile.',
      });
    }
    return { context, dockerfile, dockerfileState: fromDefinition(handed), contextSubdir };
  }
  const remote = context.type === 'remote' || context.type === 'upload';
  const dockerfileLocal = dockerfileKey ?? (remote ? undefined : 'dockerfile');
  return { context, dockerfile, dockerfileLocal, contextSubdir };
}

function namedInputs(
  options: Options,
  inputs: Readonly<Record<string, Definition>>,
): DockerfileRequest['inputs'] {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, definition]) => {
      const metadata = option(options, `input-metadata:${name}`);
      const config = metadata === undefined ? undefined : configIn(metadata, name);
      return [name, { state: fromDefinition(definition), config }];
    }),
  );
}

/** The image config in the metadata of one solve that is handed to another: JSON with bytes in base64. */
function configIn(metadata: string, name: string): ImageConfig | undefined {
  try {
    const parsed = JSON.parse(metadata) as Record<string, unknown>;
    const bytes = parsed['containerimage.config'];
    if (typeof bytes !== 'string') return undefined;
    return JSON.parse(Buffer.from(bytes, 'base64').toString('utf8')) as ImageConfig;
  } catch (cause) {
    throw fail('invalid', 'frontend', `failed to parse input metadata of ${name}`, { cause });
  }
}

/** The form in which `configIn` finds an image config. */
function metadataOf(config: ImageConfig): string {
  return JSON.stringify({
    'containerimage.config': Buffer.from(JSON.stringify(config)).toString('base64'),
  });
}

/** The fields of an option that is a list, without the empty ones. */
function listOf(text: string, what: string): string[] {
  return csvFields(text, (why) => invalid(`failed to parse ${what}: ${why}`)).filter((field) => field !== '');
}

function pullOf(mode: string | undefined): PullPolicy {
  const pull = pullPolicyOf(mode);
  if (pull !== undefined) return pull;
  throw invalid(`invalid image-resolve-mode: ${mode}`);
}

function hostsOf(text: string | undefined): DockerfileRequest['extraHosts'] {
  return listOf(text ?? '', 'additional hosts').map((field) => {
    const at = field.indexOf('=');
    if (at < 1) throw invalid(`failed to parse additional hosts: invalid key-value pair ${field}`);
    const ip = field.slice(at + 1).replace(/^\[(.*)\]$/, '$1');
    if (ip !== 'host-gateway' && isIP(ip) === 0)
      throw invalid(`failed to parse additional hosts: failed to parse IP ${ip}`);
    return { host: field.slice(0, at).toLowerCase(), ip };
  });
}

function whole(options: Options, name: string): number | undefined {
  const text = option(options, name);
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw invalid(`failed to parse ${name}: ${JSON.stringify(text)}`);
  return Number(text);
}

function ulimitsOf(text: string | undefined): DockerfileRequest['ulimits'] {
  return listOf(text ?? '', 'ulimit').map((field) => {
    try {
      return parseUlimit(field);
    } catch (err) {
      throw prefixed(err, 'failed to parse ulimit');
    }
  });
}

/** Makes the options and inputs of a request; `dockerfileRequest` makes the same request of them again. */
export function optionsOf(request: DockerfileRequest): FrontendOptions {
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
  set('requestid', request.subrequest);
  for (const [name, value] of Object.entries(request.buildArgs)) options[`build-arg:${name}`] = value;
  for (const [name, value] of Object.entries(request.labels)) options[`label:${name}`] = value;
  for (const [name, value] of Object.entries(request.namedContexts)) options[`context:${name}`] = value;
  for (const [name, { state, config }] of Object.entries(request.inputs ?? {})) {
    inputs[name] = marshal(state);
    if (config !== undefined) options[`input-metadata:${name}`] = metadataOf(config);
  }
  set('platform', request.platforms.map(formatPlatform).join(','));
  if (request.multiPlatform !== undefined) options['multi-platform'] = String(request.multiPlatform);
  if (request.noCache) options['no-cache'] = '';
  else set('no-cache', csvLine(request.noCacheFilter));
  set('image-resolve-mode', resolveModeOf(request.pull));
  const network = request.networkName ?? request.network;
  if (network !== 'default') options['force-network-mode'] = network;
  set('add-hosts', request.extraHosts.map(({ host, ip }) => `${host}=${ip}`).join(','));
  if (request.shmSize > 0) options['shm-size'] = String(request.shmSize);
  set('ulimit', request.ulimits.map(({ name, soft, hard }) => `${name}=${soft}:${hard}`).join(','));
  set('hostname', request.hostname);
  set('cgroup-parent', request.cgroupParent);
  Object.assign(options, limitOptions(request.limits));
  return { options, inputs };
}
