/** Makes the request of a build, and what its session offers, of the flags. */
import { readFile } from 'node:fs/promises';
import { type BuildOptions, signedOutputs } from '../../engine/index.ts';
import { fail } from '../../errors/index.ts';
import { parseNetwork, parseSourcePolicy, parseUlimit } from '../../llb/index.ts';
import { familiarName, normalizeName, parsePlatform } from '../../oci/index.ts';
import { clientCaches } from '../../remote-cache/index.ts';
import { dockerConfigCredentials, dockerProxies, type InProcessOptions } from '../../session/index.ts';
import type { CommandContext } from '../command.ts';
import { splitCsv } from '../csv.ts';
import type { FlagValues } from '../flags.ts';
import { outputTarget } from '../output-target.ts';
import { parseBytes } from '../units.ts';
import { attestFlags } from './attest.ts';
import { cacheSpecs } from './caches.ts';
import { subrequestOf } from './call.ts';
import { chooseContext, namedContexts } from './context.ts';
import type { buildFlags } from './flags.ts';
import { stepLimits } from './limits.ts';
import { type OpenOutputFile, parseOutputs } from './outputs.ts';
import { refuseFlags } from './refused-flags.ts';
import { checkSources } from './sources.ts';
import { buildArgs, extraHost, keyValues, pullPolicy, resolveHosts, secret, ssh } from './values.ts';

/** The values of a build's flags. */
export type BuildFlags = FlagValues<typeof buildFlags>;

/** A build that can begin. */
export interface PreparedBuild {
  options: BuildOptions;
  /** What its session gives it. */
  offered: InProcessOptions;
  /** Its outputs' files: to be finished, or abandoned, once it is over. */
  outputs: readonly OpenOutputFile[];
  caches: Awaited<ReturnType<typeof clientCaches>>;
}

/**
 * Reads the flags of a build, and looks at everything that they name. Throws `invalid`, `not-found` and `unsupported`
 * before any work is done.
 */
export async function prepareBuild(
  flags: BuildFlags,
  context: string,
  ctx: Pick<CommandContext, 'env' | 'stdout' | 'stderr' | 'signal'>,
  locks = false,
): Promise<PreparedBuild> {
  refuseFlags(flags);
  const choice = chooseContext(context, flags.file, process.stdin);
  const named = namedContexts(flags['build-context']);
  const { output, load, push, squash, annotation } = flags;
  const outputs = parseOutputs({ output, load, push, squash, annotation }, ctx.stdout, ctx.signal);
  await checkFiles(outputs, flags);
  const signed = await signing(flags.sign, outputs, ctx);
  const caches = await clientCaches(cacheSpecs(flags['cache-from']), cacheSpecs(flags['cache-to']));
  const options: BuildOptions = {
    ...(await requestOf(flags, ctx.env)),
    context: choice.context,
    dockerfile: choice.dockerfile,
    dockerfileText: choice.dockerfileText,
    dockerfileLocal: choice.dockerfileLocal,
    dockerfileState: choice.dockerfileState,
    namedContexts: named.contexts,
    outputs: signed.outputs,
    cacheFrom: caches.from,
    cacheTo: caches.to,
    sourcePolicy: await sourcePolicy(flags['source-policy'], ctx.env),
    locks,
    verifyReproducible: flags['verify-reproducible'],
  };
  if (flags.compress)
    ctx.stderr.write('WARNING: --compress has no effect: contexts are sent as single files\n');
  const secrets = flags.secret.map((text) => secret(text, ctx.env));
  const agents = flags.ssh.map(ssh);
  checkSources(secrets, agents, ctx.env);
  const offered: InProcessOptions = {
    locals: { ...choice.locals, ...named.locals },
    uploads: choice.uploads,
    stores: caches.stores,
    secrets: [...secrets, ...signed.secrets],
    ssh: agents,
    credentials: dockerConfigCredentials(ctx.env),
  };
  return { options, offered, outputs, caches };
}

/** The outputs, with what has them signed, and the secrets for that. Throws `invalid`. */
async function signing(
  flag: string | undefined,
  outputs: readonly OpenOutputFile[],
  { env, signal }: Pick<CommandContext, 'env' | 'signal'>,
): Promise<{ outputs: BuildOptions['outputs']; secrets: NonNullable<InProcessOptions['secrets']> }> {
  const specs = outputs.map(({ spec }) => spec);
  if (flag === undefined) return { outputs: specs, secrets: [] };
  const { signFlag } = await import('./sign.ts');
  const signed = signedOutputs(specs, await signFlag(flag, env, signal));
  const secrets = Object.entries(signed.secrets).map(([id, value]) => ({ id, value }));
  return { outputs: signed.outputs, secrets };
}

/** Reads the source policy that a flag, or buildx's variable, names. Throws `invalid`, and `not-found` for a missing file. */
async function sourcePolicy(
  flag: string | undefined,
  env: NodeJS.ProcessEnv,
): Promise<BuildOptions['sourcePolicy']> {
  const file = flag || env.EXPERIMENTAL_BUILDKIT_SOURCE_POLICY || undefined;
  if (file === undefined) return undefined;
  const text = await readFile(file, 'utf8').catch((cause) => {
    throw fail('not-found', 'client', `the source policy ${file} cannot be read`, { cause });
  });
  return parseSourcePolicy(text, file);
}

/** Throws for outputs that cannot be written, before the build rather than after it. */
async function checkFiles(outputs: readonly OpenOutputFile[], flags: BuildFlags): Promise<void> {
  for (const output of outputs) await output.check();
  for (const file of [flags.iidfile, flags['metadata-file']])
    if (file !== undefined) await outputTarget(file);
}

async function requestOf(
  flags: BuildFlags,
  env: NodeJS.ProcessEnv,
): Promise<Omit<BuildOptions, 'context' | 'namedContexts' | 'outputs'>> {
  const { network, networkName } = parseNetwork(flags.network ?? 'default');
  const args = { ...dockerProxies(env, env.DOCKER_HOST), ...buildArgs(flags['build-arg'], env) };
  // buildx passes the client's own on.
  if (args.SOURCE_DATE_EPOCH === undefined && env.SOURCE_DATE_EPOCH)
    args.SOURCE_DATE_EPOCH = env.SOURCE_DATE_EPOCH;
  return {
    tags: flags.tag.map((name) => familiarName(normalizeName(name))),
    target: flags.target,
    buildArgs: args,
    labels: keyValues(flags.label, 'label'),
    platforms: flags.platform.flatMap(splitCsv).map((text) => parsePlatform(text.trim())),
    noCache: flags['no-cache'] ?? false,
    noCacheFilter: flags['no-cache-filter'].flatMap(splitCsv),
    pull: pullPolicy(flags.pull),
    network,
    networkName,
    proxyNetwork: flags['proxy-network'],
    offline: flags.offline,
    extraHosts: await resolveHosts(flags['add-host'].map(extraHost)),
    shmSize: flags['shm-size'] === undefined ? 0 : parseBytes(flags['shm-size'], 'shm-size'),
    ulimits: flags.ulimit.map(parseUlimit),
    cgroupParent: flags['cgroup-parent'],
    limits: stepLimits(flags),
    ...attestFlags(flags),
    check: flags.check ?? false,
    subrequest: subrequestOf(flags.call),
    allow: [...flags.allow.flatMap(entitlements), ...(network === 'host' ? ['network.host'] : [])],
  };
}

/** The entitlements of one flag. Those of a device have commas of their own. */
function entitlements(text: string): string[] {
  return text.startsWith('device=') ? [text] : splitCsv(text);
}
