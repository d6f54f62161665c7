import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import {
  type BuildOptions,
  type BuildResult,
  checksVertex,
  dockerfileBuild,
  type Engine,
  runBuild,
  warningEvent,
} from '../../engine/index.ts';
import { fail, nearest, toDrydockError } from '../../errors/index.ts';
import { parseNetwork, parseSourcePolicy, parseUlimit } from '../../llb/index.ts';
import { familiarName, normalizeName, parsePlatform } from '../../oci/index.ts';
import { forwarding, type ProgressSink } from '../../progress/index.ts';
import { clientCaches } from '../../remote-cache/index.ts';
import {
  dockerConfigCredentials,
  dockerProxies,
  type InProcessOptions,
  inProcessSession,
} from '../../session/index.ts';
import { attestFlags } from '../build/attest.ts';
import { cacheSpecs } from '../build/caches.ts';
import { chooseContext, namedContexts } from '../build/context.ts';
import { buildFlags } from '../build/flags.ts';
import { stepLimits } from '../build/limits.ts';
import { type OpenOutputFile, parseOutputs } from '../build/outputs.ts';
import { refuseFlags } from '../build/refused-flags.ts';
import { checkReport, warningSummary } from '../build/report.ts';
import { checkSources } from '../build/sources.ts';
import { buildArgs, extraHost, keyValues, pullPolicy, resolveHosts, secret, ssh } from '../build/values.ts';
import { type CommandContext, command } from '../command.ts';
import { splitCsv } from '../csv.ts';
import type { FlagValues } from '../flags.ts';
import { writeOutput } from '../output-file.ts';
import { outputTarget } from '../output-target.ts';
import { createPrinter, type ProgressMode, progressModes } from '../progress/printer.ts';
import { formatBytes, parseBytes } from '../units.ts';

type Flags = FlagValues<typeof buildFlags>;

export default command({
  usage: 'CONTEXT',
  summary:
    'Build an image from a Dockerfile. CONTEXT is a folder, a git or http(s) URL, or - (a tar or a Dockerfile on stdin).',
  flags: buildFlags,
  operands: [1, 1],
  fills: true,
  run: (flags, [context = '.'], ctx) => runBuildCommand(flags, context, ctx),
});

/** Builds as the flags say. With `lockFile`, a lock of the build's sources is written there. */
export async function runBuildCommand(
  flags: Flags,
  context: string,
  ctx: CommandContext,
  lockFile?: string,
): Promise<number> {
  refuseFlags(flags);
  const mode = progressMode(flags);
  const choice = chooseContext(context, flags.file, process.stdin);
  const named = namedContexts(flags['build-context']);
  const { output, load, push, annotation } = flags;
  const outputs = parseOutputs({ output, load, push, annotation }, ctx.stdout, ctx.signal);
  await checkFiles(outputs, flags);
  const caches = await clientCaches(cacheSpecs(flags['cache-from']), cacheSpecs(flags['cache-to']));
  const options: BuildOptions = {
    ...(await requestOf(flags, ctx.env)),
    context: choice.context,
    dockerfile: choice.dockerfile,
    dockerfileText: choice.dockerfileText,
    dockerfileLocal: choice.dockerfileLocal,
    dockerfileState: choice.dockerfileState,
    namedContexts: named.contexts,
    outputs: outputs.map(({ spec }) => spec),
    cacheFrom: caches.from,
    cacheTo: caches.to,
    sourcePolicy: await sourcePolicy(flags['source-policy'], ctx.env),
    locks: lockFile !== undefined,
  };
  if (flags.compress)
    ctx.stderr.write('WARNING: --compress has no effect: contexts are sent as single files\n');
  if (flags['verify-reproducible'] && (Object.keys(choice.uploads).length > 0 || flags.check)) {
    throw fail('invalid', 'client', '--verify-reproducible builds more than once', {
      hint: flags.check ? 'Leave --check out.' : 'Give a folder or a URL: stdin can be read once.',
    });
  }
  const secrets = flags.secret.map((text) => secret(text, ctx.env));
  const agents = flags.ssh.map(ssh);
  checkSources(secrets, agents, ctx.env);
  const offered = {
    locals: { ...choice.locals, ...named.locals },
    uploads: choice.uploads,
    stores: caches.stores,
    secrets,
    ssh: agents,
    credentials: dockerConfigCredentials(ctx.env),
  };
  const remote = await ctx.remote();
  const engine = remote === undefined ? await ctx.engine() : undefined;
  const printer = createPrinter(mode, ctx.stderr);
  const findings: string[] = [];
  const sink = noting(findings, printer, ctx.explain !== false);
  const loud = mode !== 'quiet' && mode !== 'rawjson';
  let result: BuildResult & { lock?: object };
  try {
    const build = async (wanted: BuildOptions) => {
      if (remote === undefined) return localBuild(engine as Engine, wanted, offered, sink, ctx.signal);
      const { remoteBuild } = await import('../remote/build.ts');
      return remoteBuild(remote.endpoint, wanted, offered, sink, ctx.signal);
    };
    if (flags['verify-reproducible']) {
      const { verifyReproducible } = await import('../build/reproducible.ts');
      await verifyReproducible(options, build, engine?.store.runDir ?? tmpdir());
    }
    result = await build(options);
    for (const output of outputs) await output.finish();
    await caches.finish(result.metadata);
  } catch (err) {
    for (const output of outputs) await output.abandon();
    printer.close();
    if (loud) ctx.stderr.write(warningSummary(findings));
    const error = toDrydockError(err);
    if (error.code !== 'canceled' && !error.message.startsWith('failed to ')) {
      error.message = `failed to solve: ${error.message}`;
    }
    throw error;
  }
  printer.close();
  if (flags.check) {
    ctx.stdout.write(checkReport(result.warnings));
    return result.warnings.length > 0 ? 1 : 0;
  }
  if (lockFile !== undefined) await writeOutput(lockFile, `${JSON.stringify(result.lock, null, 2)}\n`);
  await writeResult(flags, options, result);
  if (mode === 'quiet') {
    if (result.imageId !== undefined) ctx.stdout.write(`${result.imageId}\n`);
  } else if (loud) {
    const found = result.warnings.map((warning) => warningEvent(warning).short);
    ctx.stderr.write(`${warningSummary(found)}${resultLine(options, result)}`);
    if (flags['verify-reproducible'])
      ctx.stderr.write('\nReproducible: two builds without cache made the same\n');
  }
  return 0;
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

/** A sink that also notes the findings of the build checks: a build that fails has no result with them. */
function noting(findings: string[], sink: ProgressSink, explains: boolean): ProgressSink {
  return {
    ...forwarding(sink),
    log(event) {
      // A daemon elsewhere says why steps run as it is set; here it may not be wanted.
      if (explains || event.explains !== true) sink.log(event);
    },
    warning(event) {
      if (event.vertex === checksVertex) findings.push(event.short);
      sink.warning(event);
    },
  };
}

async function localBuild(
  engine: Engine,
  options: BuildOptions,
  offered: InProcessOptions,
  printer: ProgressSink,
  signal: AbortSignal,
): Promise<BuildResult & { lock?: object }> {
  const session = inProcessSession({ ...offered, runDir: engine.store.runDir });
  try {
    return await runBuild(engine, dockerfileBuild(options), session, printer, signal);
  } finally {
    await session.close();
  }
}

/** Throws for outputs that cannot be written, before the build rather than after it. */
async function checkFiles(outputs: readonly OpenOutputFile[], flags: Flags): Promise<void> {
  for (const output of outputs) await output.check();
  for (const file of [flags.iidfile, flags['metadata-file']])
    if (file !== undefined) await outputTarget(file);
}

function progressMode(flags: Flags): ProgressMode {
  if (flags.quiet) return 'quiet';
  const wanted = flags.progress ?? process.env.BUILDKIT_PROGRESS ?? 'auto';
  const mode = progressModes.find((known) => known === wanted);
  if (mode !== undefined) return mode;
  const like = nearest(wanted, progressModes);
  throw fail('invalid', 'client', `invalid progress mode ${JSON.stringify(wanted)}`, {
    hint: like === undefined ? `Modes: ${progressModes.join(', ')}.` : `Did you mean ${like}?`,
  });
}

async function requestOf(
  flags: Flags,
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
    extraHosts: await resolveHosts(flags['add-host'].map(extraHost)),
    shmSize: flags['shm-size'] === undefined ? 0 : parseBytes(flags['shm-size'], 'shm-size'),
    ulimits: flags.ulimit.map(parseUlimit),
    cgroupParent: flags['cgroup-parent'],
    limits: stepLimits(flags),
    ...attestFlags(flags),
    check: flags.check ?? false,
    allow: [...flags.allow.flatMap(entitlements), ...(network === 'host' ? ['network.host'] : [])],
  };
}

async function writeResult(flags: Flags, options: BuildOptions, result: BuildResult): Promise<void> {
  if (flags.iidfile !== undefined) {
    if (result.imageId === undefined) {
      throw fail('invalid', 'client', '--iidfile: the outputs make no image', { hint: 'Add --load.' });
    }
    await writeOutput(flags.iidfile, result.imageId);
  }
  const file = flags['metadata-file'];
  if (file === undefined) return;
  const names = options.tags.map(normalizeName).join(',');
  const metadata = { ...result.metadata, ...(names === '' ? {} : { 'image.name': names }) };
  await writeOutput(file, `${JSON.stringify(metadata, null, 2)}\n`);
}

function resultLine({ tags }: BuildOptions, { descriptor, imageId, size }: BuildResult): string {
  if (descriptor === undefined || imageId === undefined) return '';
  const name = tags.length === 0 ? '(no name)' : tags.join(', ');
  return `\nBuilt ${name}\n  digest  ${descriptor.digest}\n  image   ${imageId}\n${size === undefined ? '' : `  size    ${formatBytes(size)}\n`}`;
}

/** The entitlements of one flag. Those of a device have commas of their own. */
function entitlements(text: string): string[] {
  return text.startsWith('device=') ? [text] : splitCsv(text);
}
