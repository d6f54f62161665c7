/**
 * The options of `dockerfile.v0`, as buildx and buildctl give them, to a request to our frontend.
 * https://github.com/moby/buildkit/blob/master/frontend/dockerui/config.go has their names.
 */

import { isIP } from 'node:net';
import { fail, prefixed } from '../../errors/error.ts';
import type { ContextSource, DockerfileRequest } from '../../frontend/types.ts';
import { fromDefinition } from '../../llb/from-definition.ts';
import { parseLimits } from '../../llb/limits.ts';
import { parseUlimit } from '../../llb/ulimits.ts';
import { distinctPlatforms, parsePlatform } from '../../oci/platform.ts';
import type { ImageConfig, Platform } from '../../oci/types.ts';
import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import { parseBool } from '../../words/bool.ts';
import { csvFields } from '../../words/csv.ts';
import { isRemoteUrl } from '../../words/remote-url.ts';
import type { BridgeRequest } from './types.ts';

type Options = Readonly<Record<string, string>>;

/** What an option says, undefined where it is missing or empty. */
function option(options: Options, name: string): string | undefined {
  return Object.hasOwn(options, name) && options[name] !== '' ? options[name] : undefined;
}

/** Options with a prefix, under their names without it. */
export function withPrefix(options: Options, prefix: string): Record<string, string> {
  const found = Object.create(null) as Record<string, string>;
  for (const [name, value] of Object.entries(options)) {
    if (name.startsWith(prefix)) found[name.slice(prefix.length)] = value;
  }
  return { ...found };
}

/** Throws `invalid` (hop `frontend`) on an option whose value cannot be read. */
export function dockerfileRequest({
  options,
  inputs,
}: Pick<BridgeRequest, 'options' | 'inputs'>): DockerfileRequest {
  const noCache = options['no-cache'];
  const hostArg = option(options, 'build-arg:BUILDKIT_SANDBOX_HOSTNAME');
  return {
    ...contextOf(options, inputs),
    localSessions: withPrefix(options, 'local-sessionid:'),
    target: option(options, 'target'),
    buildArgs: withPrefix(options, 'build-arg:'),
    labels: withPrefix(options, 'label:'),
    platforms: distinctPlatforms(
      (option(options, 'platform') ?? '').split(',').filter((text) => text !== ''),
      targetPlatform,
    ),
    noCache: noCache === '',
    noCacheFilter: noCache === undefined || noCache === '' ? [] : listOf(noCache, 'no-cache'),
    pull: resolveMode(option(options, 'image-resolve-mode')),
    network: networkOf(option(options, 'force-network-mode')),
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

function targetPlatform(text: string): Platform {
  try {
    return parsePlatform(text);
  } catch (err) {
    throw prefixed(err, `failed to parse target platform ${text}`);
  }
}

/** Whether the client wants its result by platform, be it only one. */
export function isMultiPlatform({ options }: Pick<BridgeRequest, 'options'>, platforms: number): boolean {
  const text = option(options, 'build-arg:BUILDKIT_MULTI_PLATFORM') ?? option(options, 'multi-platform');
  if (text === undefined) return platforms > 1;
  const wanted = parseBool(text);
  if (wanted === undefined) throw invalid(`invalid boolean value for multi-platform: ${text}`);
  if (!wanted && platforms > 1) {
    throw invalid('conflicting config: returning multiple target platforms is not allowed');
  }
  return wanted;
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

/** The image config in the metadata that one solve gave and another is handed: JSON with bytes in base64. */
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

/** The fields of an option that is a list; those that are empty are left out. */
function listOf(text: string, what: string): string[] {
  return csvFields(text, (why) => invalid(`failed to parse ${what}: ${why}`)).filter((field) => field !== '');
}

function resolveMode(mode: string | undefined): boolean {
  if (mode === undefined || mode === 'default' || mode === 'local') return false;
  if (mode === 'pull') return true;
  throw invalid(`invalid image-resolve-mode: ${mode}`);
}

function networkOf(mode: string | undefined): DockerfileRequest['network'] {
  if (mode === undefined || mode === 'sandbox' || mode === 'default') return 'default';
  if (mode === 'host' || mode === 'none') return mode;
  throw invalid(`invalid netmode ${mode}`);
}

function hostsOf(text: string | undefined): DockerfileRequest['extraHosts'] {
  return listOf(text ?? '', 'additional hosts').map((field) => {
    const at = field.indexOf('=');
    if (at < 1) throw invalid(`failed to parse additional hosts: invalid key-value pair ${field}`);
    const ip = field.slice(at + 1).replace(/^\[(.*)\]$/, '$1');
    if (isIP(ip) === 0) throw invalid(`failed to parse additional hosts: failed to parse IP ${ip}`);
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
