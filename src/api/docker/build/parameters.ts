/** Reads and checks the query of `POST /build`. Pure. https://docs.docker.com/reference/api/engine/ (ImageBuild) */
import { type Authority, authorizeEntitlements } from '../../../auth/index.ts';
import {
  type BuildOptions,
  checkOptionsSize,
  type OutputSpec,
  squashAttrs,
  withImageAttrs,
} from '../../../engine/index.ts';
import { checkNewName } from '../../../images/index.ts';
import { checkUlimit, parseLimits, parseNetwork, type StepLimits, type Ulimit } from '../../../llb/index.ts';
import {
  distinctPlatforms,
  familiarName,
  normalizeName,
  type PullPolicy,
  pullPolicyNamed,
} from '../../../oci/index.ts';
import { type CacheSpec, cacheSpec } from '../../../remote-cache/index.ts';
import { csvFields } from '../../../words/index.ts';
import { apiError } from '../http/errors.ts';
import type { Query } from '../http/query.ts';

/** The place that a build's files come from. */
type BuildInput =
  /** The request's body: a tar or a Dockerfile. */
  | { from: 'body' }
  /** The body of another request, which was left under this ID. */
  | { from: 'parked'; id: string }
  /** The client's folders, over its session. */
  | { from: 'session' }
  | { from: 'url'; url: string };

/** The checked parameters of `POST /build`. */
export interface BuildParameters {
  /** 1: docker's old builder, which answers in text; 2: BuildKit's protocol. */
  version: 1 | 2;
  /** The ID for `/build/cancel`; '' when the client gave none. */
  id: string;
  /** Set when the request only brings the body for another one, which asks for it by this ID. */
  parkAs?: string;
  input: BuildInput;
  /** '' when the client has none. */
  sessionId: string;
  quiet: boolean;
  /** All options but the place of the files and the places of the results. */
  options: Omit<BuildOptions, 'context' | 'outputs'>;
  outputs: Omit<OutputSpec, 'sink'>[];
  /** The images whose steps the build may use, when `cachefrom` names nothing but images. */
  cacheNames?: readonly string[];
}

const uploadRequest = 'upload-request';

/** Reads and checks all parameters. Throws `invalid` or `unsupported`, with the parameter's name. */
export function readBuildParameters(query: Query, authority: Authority): BuildParameters {
  const version = readVersion(query.text('version'));
  const buildId = query.text('buildid');
  const parked = buildId.startsWith(`${uploadRequest}:`)
    ? buildId.slice(uploadRequest.length + 1)
    : undefined;
  const tags = query
    .all('t')
    .filter((name) => name !== '')
    .map(readTag);
  refuse(query);
  const { network, networkName } = parseNetwork(query.text('networkmode'));
  const buildArgs = query.jsonMap('buildargs');
  const labels = query.jsonMap('labels');
  checkOptionsSize(buildArgs);
  checkOptionsSize(labels);
  return {
    version,
    id: parked ?? buildId,
    ...(parked !== undefined && { parkAs: parked }),
    input: readInput(query.text('remote'), buildId),
    sessionId: query.text('session'),
    quiet: query.bool('q'),
    options: {
      tags: [...new Set(tags)],
      dockerfile: query.text('dockerfile') || undefined,
      target: query.text('target') || undefined,
      classic: version === 1,
      buildArgs,
      unsetArgs: version === 1 ? query.jsonNulls('buildargs') : [],
      labels,
      platforms: readPlatforms(query.text('platform')),
      noCache: query.bool('nocache'),
      noCacheFilter: [],
      pull: pullOf(query),
      network,
      networkName,
      extraHosts: query.all('extrahosts').flatMap(readHosts),
      shmSize: positive(query, 'shmsize') ?? 0,
      ulimits: query.jsonList('ulimits').map(readUlimit),
      namedContexts: {},
      cacheFrom: readCacheFrom(query),
      cgroupParent: query.text('cgroupparent') || undefined,
      check: false,
      offline: query.has('offline') ? query.bool('offline') : undefined,
      verifyReproducible: query.has('verifyreproducible') ? query.bool('verifyreproducible') : undefined,
      limits: readLimits(query),
      // docker grants a build its host network unasked; here the caller's rights decide, as they do about devices.
      allow: [
        ...(network === 'host' ? authorizeEntitlements(authority, ['network.host']) : []),
        ...[...authority.allow].filter((each) => each === 'network.host' || each === 'device'),
      ],
    },
    outputs: query.bool('squash')
      ? withImageAttrs(readOutputs(query), squashAttrs, 'squash')
      : readOutputs(query),
    cacheNames: readCacheNames(query),
  };
}

/** Names of images. Clients of BuildKit's protocol also send buildx's `type=…,ref=…`. */
function readCacheFrom(query: Query): CacheSpec[] {
  const pairs = (text: string) => {
    const bad = (why: string) =>
      apiError('invalid', `error reading cachefrom: ${why} in ${JSON.stringify(text)}`);
    return new Map(
      csvFields(text, bad).map((field) => field.split(/=(.*)/s).slice(0, 2) as [string, string]),
    );
  };
  return query.jsonList('cachefrom').map((item) => {
    if (typeof item !== 'string') throw apiError('invalid', 'cachefrom is not a JSON list of names');
    return cacheSpec(item, pairs);
  });
}

/** The names in `cachefrom`; undefined when there are none, or when one of them is more than a name. */
function readCacheNames(query: Query): string[] | undefined {
  const names = query.jsonList('cachefrom').map(String);
  return names.length === 0 || names.some((name) => name.includes('=')) ? undefined : names;
}

function readVersion(text: string): 1 | 2 {
  if (text === '' || text === '1') return 1;
  if (text === '2') return 2;
  throw apiError('invalid', `invalid version ${JSON.stringify(text)}`, 'Builders are 1 (the default) and 2.');
}

/** Refuses parameters that would change the result and cannot be obeyed, so that none is left out in silence. */
function refuse(query: Query): void {
  const security = query.all('securityopt').filter((text) => !['', 'null', '[]'].includes(text));
  if (security.length > 0) {
    throw apiError(
      'invalid',
      `security options are not supported on linux: securityopt ${security.join(', ')}`,
      'Leave it out: steps run in the sandbox that Drydock gives them.',
    );
  }
  const isolation = query.text('isolation');
  if (isolation !== '' && isolation !== 'default') {
    throw apiError('invalid', `isolation ${JSON.stringify(isolation)} is not supported on Linux`);
  }
}

function readInput(remote: string, buildId: string): BuildInput {
  switch (remote) {
    case '':
      return { from: 'body' };
    case 'client-session':
      return { from: 'session' };
    case uploadRequest:
      if (buildId === '') {
        throw apiError('invalid', 'remote=upload-request needs the buildid that the upload was given');
      }
      return { from: 'parked', id: buildId };
    default:
      return { from: 'url', url: remote };
  }
}

function readTag(name: string): string {
  try {
    const normal = normalizeName(name);
    checkNewName(normal);
    if (normal.includes('@')) {
      throw apiError('invalid', `refusing to create a tag with a digest reference: ${name}`);
    }
    return familiarName(normal);
  } catch (err) {
    if (err instanceof Error && err.message.startsWith('refusing')) throw err;
    throw apiError('invalid', `invalid tag ${JSON.stringify(name)}: invalid reference format`);
  }
}

function readPlatforms(text: string) {
  const parts = text.split(',').map((part) => part.trim());
  return distinctPlatforms(parts.filter((part) => part !== ''));
}

/** One or more `name:address` or `name=address`. dockerd also takes several, joined by commas. */
function readHosts(text: string): { host: string; ip: string }[] {
  if (text === '') return [];
  return text.split(',').map((part) => {
    const match = /^([^:=]+)[:=](.+)$/.exec(part.trim());
    if (match === null) {
      throw apiError('invalid', `bad format for extrahosts: ${JSON.stringify(part)}`, 'Want name:address.');
    }
    return { host: match[1] as string, ip: (match[2] as string).replace(/^\[(.*)\]$/, '$1') };
  });
}

function readUlimit(item: unknown): Ulimit {
  const { Name: name, Soft: soft, Hard: hard } = (item ?? {}) as Record<string, unknown>;
  if (typeof name !== 'string' || name === '') {
    throw apiError('invalid', 'error reading ulimits: each has a Name such as nofile');
  }
  if (typeof soft !== 'number' || typeof hard !== 'number') {
    throw apiError('invalid', `error reading ulimits: Soft and Hard of ${name} must be whole numbers`);
  }
  return checkUlimit({ name, soft, hard });
}

function positive(query: Query, name: string): number | undefined {
  const value = query.int(name);
  if (value === undefined || value === 0) return undefined;
  if (value < 0) throw apiError('invalid', `${name} must not be negative`);
  return value;
}

/** The limits of steps. 0 means that a limit is not set. */
function readLimits(query: Query): StepLimits | undefined {
  return parseLimits((name) => {
    const text = query.text(name);
    // A number of 0 is no limit; of processors 0 is the first one.
    return text === '0' && !name.startsWith('cpuset') ? undefined : text;
  });
}

const outputTypes: Readonly<Record<string, OutputSpec['type']>> = {
  moby: 'image',
  image: 'image',
  docker: 'docker',
  oci: 'oci',
  local: 'local',
  tar: 'tar',
  cacheonly: 'cacheonly',
};

function readOutputs(query: Query): Omit<OutputSpec, 'sink'>[] {
  return query.jsonList('outputs').map((item) => {
    const { Type: type, Attrs: attrs } = (item ?? {}) as Record<string, unknown>;
    const kind = typeof type === 'string' && Object.hasOwn(outputTypes, type) ? outputTypes[type] : undefined;
    if (kind === undefined) {
      throw apiError(
        'invalid',
        `error reading outputs: exporter ${JSON.stringify(type)} could not be found`,
        `Types: ${Object.keys(outputTypes).join(', ')}.`,
      );
    }
    const map: Record<string, string> = {};
    for (const [key, value] of Object.entries((attrs ?? {}) as Record<string, unknown>)) {
      if (typeof value !== 'string') {
        throw apiError('invalid', `error reading outputs: the attribute ${key} is not a string`);
      }
      map[key] = value;
    }
    return { type: kind, attrs: map };
  });
}

/** `pull`: a truth value in docker's API; ours also takes the names of policies. */
function pullOf(query: Query): PullPolicy {
  return pullPolicyNamed(query.text('pull')) ?? (query.bool('pull') ? 'always' : 'missing');
}
