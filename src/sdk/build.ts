/** Builds from a Node program, in its process, with the command's engine and store. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import {
  formatProvenance,
  formatSbom,
  type ProvenanceOptions,
  parseProvenance,
  parseSbom,
  type SbomOptions,
} from '../attest/index.ts';
import { ownOwner } from '../auth/index.ts';
import {
  type BuildOptions,
  type BuildRequest,
  type BuildResult,
  defaultRoot,
  definition,
  dockerfileBuild,
  type Engine,
  explainFromEnv,
  noProcessSandboxFromEnv,
  type OutputSpec,
  openEngine,
  runBuild,
  type SignOptions,
  type StoreOptions,
  signedOutputs,
  squashAttrs,
  usernsRemapFromEnv,
  withImageAttrs,
} from '../engine/index.ts';
import { fail } from '../errors/index.ts';
import { type ContextSource, dockerfileAt } from '../frontend/index.ts';
import { rawName } from '../linux/index.ts';

import {
  ignoringCache,
  limitSteps,
  marshal,
  parseNetwork,
  parseSourcePolicy,
  type State,
  type StepLimits,
  sourceRewrite,
} from '../llb/index.ts';
import { authoritiesFromEnv, networkFromEnv, proxyFromEnv } from '../network/index.ts';

import {
  type CredentialSource,
  distinctPlatforms,
  formatPlatform,
  hostPlatform,
  type ImageConfig,
  type PullPolicy,
  parsePlatform,
  pullPolicyNamed,
} from '../oci/index.ts';
import type { ProgressSink } from '../progress/index.ts';
import {
  askedDefinition,
  askedDockerfile,
  type Kept,
  type NoteHelp,
  noteBuild,
  recorded,
} from '../records/index.ts';
import { type CacheSpec, clientCaches } from '../remote-cache/index.ts';
import { dockerConfigCredentials, inProcessSession, type SshSource } from '../session/index.ts';
import { isRemoteUrl } from '../words/index.ts';

/** The options of any build. */
export interface CommonOptions {
  /** The names of the image. */
  tags?: string[];
  /**
   * The outputs; default: an image in the store. `dest` in an output's attrs is a folder (local) or the sink of a
   * stream.
   */
  outputs?: OutputSpec[];
  /** The folder of all state; default $DRYDOCK_ROOT, else /var/lib/drydock for root. */
  root?: string;
  /** An engine to build on, in the place of one that is opened for this build. The caller closes it. */
  engine?: Engine;
  /** A secret's id → its value. */
  secrets?: Record<string, string | Buffer>;
  ssh?: SshSource[];
  /** Default: docker's config and its credential helpers. */
  credentials?: CredentialSource;
  /** The session's local name → a folder, for `local()` sources. */
  locals?: Record<string, string>;
  /**
   * Foreign caches in which steps are looked up, besides the local one: `{ type: 'registry', attrs: { ref } }`, `{
   * type: 'local', attrs: { src } }`.
   */
  cacheFrom?: CacheSpec[];
  /** Foreign caches that the build's cache is written to; also `{ type: 'inline', attrs: {} }`. */
  cacheTo?: CacheSpec[];
  /** Adds a provenance to the outputs; `true` has the defaults (`mode: 'max'`, SLSA v1). */
  provenance?: boolean | Partial<ProvenanceOptions>;
  /** Adds a bill of materials to the outputs; `true` has the defaults (the built-in scanner, SPDX). */
  sbom?: boolean | Partial<SbomOptions>;
  /** Pins, replaces or denies sources: the contents of a file that `drydock lock` wrote, or another source policy. */
  sourcePolicy?: object;
  /** Makes one layer of those that the build adds to its base image, in all outputs that are images. */
  squash?: boolean;
  /** Signs the pushed images, as cosign does. */
  sign?: SignOptions;
  /** The entitlements that are granted: `network.host`, `security.insecure`, `device`, `device=NAME[,alias=NAME]`. */
  allow?: string[];
  /** The limits of each step on the machine's resources, where its cgroups allow them. */
  limits?: StepLimits;
  /** Asks no registry, git or web server: what is here is used, else the build rejects. Steps keep their network. */
  offline?: boolean;
  /** Builds twice without cache first, and rejects with what differs unless both have made the same. */
  verifyReproducible?: boolean;
  progress?: Partial<ProgressSink>;
  signal?: AbortSignal;
  insecureRegistries?: string[];
  /** A file that says whose signatures base images must have; default: $DRYDOCK_IMAGE_POLICY. */
  imagePolicy?: string;
  /**
   * Keeps the build in the history of the root, as those of the command are; default true, but for a build on an `engine`
   * of the caller's.
   */
  history?: boolean;
  /** The store that images are kept in; default: the root's own. */
  store?: Omit<StoreOptions, 'root'>;
}

/** The options of `build()`. */
export interface DockerfileOptions extends CommonOptions {
  /** The context: a folder, a git or http(s) URL, or a tar as a stream. */
  context: string | Readable;
  /** The path of the Dockerfile in the context, or its http(s) URL. */
  dockerfile?: string;
  /** The text of the Dockerfile, in the place of a file in the context. */
  dockerfileText?: string;
  target?: string;
  buildArgs?: Record<string, string>;
  labels?: Record<string, string>;
  /** `linux/amd64`, … */
  platforms?: string[];
  noCache?: boolean;
  /** The stages whose steps run again. */
  noCacheFilter?: string[];
  /** When registries are asked for base images; `true` is `always`. Default: `missing`. */
  pull?: boolean | PullPolicy;
  network?: 'default' | 'host' | 'none' | (string & {});
  /** Has RUN steps reach the network by a proxy, which notes what they ask for (provenance). */
  proxyNetwork?: boolean;
  /** Entries in /etc/hosts of RUN steps: name → address. */
  extraHosts?: Record<string, string>;
  /** The host name in RUN steps. */
  hostname?: string;
  /** The size of /dev/shm in RUN steps, in bytes. */
  shmSize?: number;
  /** The limits of processes in RUN steps: `{ name: 'nofile', soft: 1024, hard: 4096 }`; -1: no limit. */
  ulimits?: { name: string; soft: number; hard: number }[];
  /** The parent cgroup of RUN steps. */
  cgroupParent?: string;
  /** A name → a folder, a URL, `docker-image://…`. */
  namedContexts?: Record<string, string>;
  sourceDateEpoch?: number;
  /** Runs the build checks and nothing else. */
  check?: boolean;
}

/** The options of `buildState()`. */
export interface StateOptions extends CommonOptions {
  /** The config of the image. `env`, `cwd` and `user` of the state are put into it. */
  config?: ImageConfig['config'];
  platform?: string;
}

/**
 * Builds a Dockerfile. Rejects with a DrydockError that names the step, its lines and the hop.
 *
 *     const { imageId } = await build({ context: '.', tags: ['app'] });
 */
export async function build(options: DockerfileOptions): Promise<BuildResult> {
  const { context } = options;
  if (typeof context !== 'string' && !(context instanceof Readable)) {
    throw fail('invalid', 'client', 'build: context must be a folder, a URL or a stream of a tar');
  }
  const locals: Record<string, string> = { ...options.locals };
  let source: ContextSource;
  if (typeof context !== 'string') source = { type: 'upload', id: 'context' };
  else if (isRemoteUrl(context) && !isFolder(context)) source = { type: 'remote', url: context };
  else {
    source = { type: 'local', name: 'context' };
    locals.context = resolve(context);
  }
  const namedContexts: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.namedContexts ?? {})) {
    if (isRemoteUrl(value) || /^(?:docker-image|oci-layout):\/\//.test(value)) namedContexts[name] = value;
    else {
      locals[`context:${name}`] = resolve(value);
      namedContexts[name] = `local:context:${name}`;
    }
  }
  const signed = withSigning(options);
  const asked: BuildOptions = {
    ...{
      context: source,
      dockerfile: options.dockerfile,
      dockerfileText: options.dockerfileText,
      ...dockerfileAt(options.dockerfile),
      target: options.target,
      buildArgs: options.buildArgs ?? {},
      labels: options.labels ?? {},
      platforms: distinctPlatforms(options.platforms ?? []),
      noCache: options.noCache ?? false,
      noCacheFilter: options.noCacheFilter ?? [],
      pull: pullOf(options.pull),
      ...parseNetwork(options.network ?? 'default'),
      proxyNetwork: options.proxyNetwork,
      extraHosts: Object.entries(options.extraHosts ?? {}).map(([host, ip]) => ({ host, ip })),
      hostname: options.hostname,
      shmSize: options.shmSize ?? 0,
      ulimits: options.ulimits ?? [],
      cgroupParent: options.cgroupParent,
      namedContexts,
      sourceDateEpoch: options.sourceDateEpoch,
      check: options.check ?? false,
      verifyReproducible: options.verifyReproducible,
      offline: options.offline,
      allow: [...(options.allow ?? []), ...(options.network === 'host' ? ['network.host'] : [])],
    },
    tags: options.tags ?? [],
    outputs: signed.outputs ?? [],
    limits: options.limits,
    provenance: provenanceOf(options),
    sbom: sbomOf(options),
    sourcePolicy: policyOf(options),
  };
  return run(
    ({ from, to }) => dockerfileBuild({ ...asked, cacheFrom: from, cacheTo: to }),
    { ...options, locals, signingSecrets: signed.signingSecrets },
    asked.check ? undefined : askedDockerfile(asked),
    context instanceof Readable ? { context } : {},
  );
}

/**
 * Builds an LLB state that was made with `image()`, `local()`, `scratch()` and their methods.
 *
 *     await buildState(image('alpine:3').run('apk add git').root(), { tags: ['git'] });
 */
export async function buildState(state: State, options: StateOptions = {}): Promise<BuildResult> {
  const signed = withSigning(options);
  const platform = options.platform === undefined ? hostPlatform() : parsePlatform(options.platform);
  const made = marshal(state, { platform });
  limitSteps(made, options.limits);
  const config: ImageConfig = {
    ...platform,
    config: options.config ?? {},
    rootfs: { type: 'layers', diff_ids: [] },
    history: [],
  };
  return run(
    ({ from, to }) => ({
      frontend: definition(made, config),
      verifyBy: options.verifyReproducible ? definition(ignoringCache(made), config) : undefined,
      outputs: signed.outputs?.length ? signed.outputs : [{ type: 'image', attrs: {} }],
      tags: options.tags,
      platform: formatPlatform(platform),
      cacheFrom: from,
      cacheTo: to,
      allow: options.allow ?? [],
      offline: options.offline,
      provenance: provenanceOf(options) || undefined,
      sbom: sbomOf(options) || undefined,
      rewrite: rewriteOf(options),
    }),
    { ...options, signingSecrets: signed.signingSecrets },
    askedDefinition({ outputs: signed.outputs ?? [], tags: options.tags ?? [] }),
    {},
  );
}

/** The outputs, with what has them signed, and the secrets for that. Throws `invalid` when nothing is pushed. */
function withSigning({ outputs: given, squash, sign }: CommonOptions) {
  const outputs = squash ? withImageAttrs(given ?? [], squashAttrs, 'squash') : given;
  if (sign === undefined) return { outputs };
  const signed = signedOutputs(outputs ?? [], sign);
  return { outputs: signed.outputs, signingSecrets: signed.secrets };
}

/** Checks the provenance's parameters. Throws `invalid` for impossible values. */
function provenanceOf({ provenance }: CommonOptions): ProvenanceOptions | false | undefined {
  if (provenance === undefined || provenance === false) return provenance;
  return parseProvenance(provenance === true ? '' : formatProvenance(provenance));
}

/** Checks a source policy. Throws `invalid`. */
function policyOf({ sourcePolicy }: CommonOptions) {
  return sourcePolicy && parseSourcePolicy(JSON.stringify(sourcePolicy), 'sourcePolicy');
}

function rewriteOf(options: CommonOptions) {
  const policy = policyOf(options);
  return policy && sourceRewrite([policy]);
}

/** Checks the parameters of a bill of materials. Throws `invalid` for impossible values. */
function sbomOf({ sbom }: CommonOptions): SbomOptions | false | undefined {
  if (sbom === undefined || sbom === false) return sbom;
  return parseSbom(sbom === true ? '' : formatSbom(sbom));
}

/** As the kernel finds it: a URL with `..` in it is no folder, wherever the dots would lead. */
function isFolder(path: string): boolean {
  return statSync(rawName(path), { throwIfNoEntry: false })?.isDirectory() === true;
}

/** Runs a build on the engine that the options name, with the secrets, credentials and caches that they offer. */
async function run(
  requestWith: (caches: { from: readonly CacheSpec[]; to: readonly CacheSpec[] }) => BuildRequest,
  options: CommonOptions & { signingSecrets?: ReturnType<typeof signedOutputs>['secrets'] },
  told: ReturnType<typeof askedDefinition> | undefined,
  uploads: Record<string, Readable>,
): Promise<BuildResult> {
  const caches = await clientCaches(options.cacheFrom ?? [], options.cacheTo ?? []);
  const session = inProcessSession({
    locals: options.locals ?? {},
    stores: caches.stores,
    uploads,
    ssh: options.ssh,
    credentials: options.credentials ?? dockerConfigCredentials(process.env),
  });
  const secrets = new Map(Object.entries(options.secrets ?? {}));
  const withSecrets = {
    ...session,
    async secret(id: string) {
      const signing = options.signingSecrets?.[id];
      if (signing !== undefined) return signing();
      const value = secrets.get(id);
      return typeof value === 'string' ? Buffer.from(value) : value;
    },
  };
  const nothing = () => {};
  const sink: ProgressSink = {
    vertex: nothing,
    status: nothing,
    log: nothing,
    warning: nothing,
    ...options.progress,
  };
  const engine =
    options.engine ??
    (await openEngine({
      ...options.store,
      root: options.root ?? defaultRoot(),
      insecureRegistries: options.insecureRegistries,
      imagePolicy: options.imagePolicy ?? (process.env.DRYDOCK_IMAGE_POLICY || undefined),
      explain: explainFromEnv(process.env),
      noProcessSandbox: noProcessSandboxFromEnv(process.env),
      usernsRemap: usernsRemapFromEnv(process.env),
      network: networkFromEnv(process.env),
      proxyNetwork: proxyFromEnv(process.env),
      trusted: authoritiesFromEnv(process.env),
    }));
  try {
    const signal = options.signal ?? new AbortController().signal;
    const request = { ...requestWith(caches), traceparent: process.env.TRACEPARENT };
    const build = (all: ProgressSink, kept: Kept) =>
      runBuild(engine, { ...request, ...kept }, withSecrets, all, signal);
    // Checks build nothing.
    const keeps = told !== undefined && (options.history ?? options.engine === undefined);
    const built = keeps
      ? await recorded({
          record: noteBuild(engine.store.root, noteHelp),
          owner: ownOwner(),
          asked: told,
          sink,
          run: build,
        })
      : await build(sink, {});
    await caches.finish(built.metadata);
    const { imageId, descriptor, metadata, warnings, size, stored } = built;
    return { imageId, descriptor, metadata, warnings, size, stored };
  } finally {
    await session.close();
    if (options.engine === undefined) await engine.close();
  }
}

/** Loaded only when asked for: the history's libraries are not small. */
async function noteHelp(): Promise<NoteHelp> {
  return (await import('../api/notes/help.ts')).noteHelp;
}

/** Throws `invalid` for a policy that there is not: programs in JavaScript may pass anything. */
function pullOf(pull: DockerfileOptions['pull'] = false): PullPolicy {
  if (typeof pull === 'boolean') return pull ? 'always' : 'missing';
  const policy = pullPolicyNamed(pull);
  if (policy !== undefined) return policy;
  throw fail('invalid', 'client', `invalid pull ${JSON.stringify(pull)}: want always, missing or never`);
}
