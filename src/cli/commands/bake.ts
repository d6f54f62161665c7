import {
  attestText,
  type Definitions,
  type PlannedTarget,
  plainNamedContext,
  planOf,
  printed,
  readOverrides,
} from '../../bake/index.ts';
import { type BuildResult, warningEvent } from '../../engine/index.ts';
import { type DrydockError, fail, toDrydockError } from '../../errors/index.ts';
import { parseBool } from '../../words/index.ts';
import { TargetChecks } from '../bake/checks.ts';
import { bakeDefinitions, bakeFiles, remoteNames } from '../bake/files.ts';
import { withLinkedBuilds } from '../bake/linked.ts';
import { definitionList } from '../bake/list.ts';
import { prefixed } from '../bake/prefixed.ts';
import { bakeOperands, type RemoteFiles, remoteFiles } from '../bake/remote-files.ts';
import { checkRights } from '../bake/rights.ts';
import { targetBuild } from '../bake/target-flags.ts';
import { callAnswer } from '../build/call.ts';
import { buildFlags } from '../build/flags.ts';
import { noting } from '../build/noting.ts';
import { openPage, refuseUiWith } from '../build/page.ts';
import { type PreparedBuild, prepareBuild } from '../build/prepare.ts';
import { refuseBuilder, refusePolicy } from '../build/refused-flags.ts';
import { warningSummary } from '../build/report.ts';
import { metadataOf, resultLine } from '../build/result.ts';
import { runPrepared } from '../build/run.ts';
import { telling } from '../check/finding.ts';
import { type CommandContext, command } from '../command.ts';
import { openInspector } from '../debug/open.ts';
import { errorText } from '../error-text.ts';
import type { FlagTable, FlagValues } from '../flags.ts';
import { writeOutput } from '../output-file.ts';
import { outputTarget } from '../output-target.ts';
import { progressMode, silentModes } from '../progress/mode.ts';
import { restingPrinter } from '../progress/resting.ts';

const bakeFlags = {
  allow: {
    type: 'list',
    value: 'RIGHT[=PATH]',
    help: 'Grant what the file asks for: network.host, security.insecure, device, ssh, fs, fs.read, fs.write',
  },
  builder: { type: 'string', help: '', hidden: true },
  call: {
    type: 'string',
    value: 'METHOD',
    help: 'build, or check, outline, targets: ask about the Dockerfiles; outline,format=json',
  },
  check: { type: 'bool', help: 'Short for --call check' },
  'check-format': buildFlags['check-format'],
  file: {
    type: 'list',
    short: 'f',
    value: 'FILE',
    help: 'Bake or compose file; - reads stdin (default: docker-bake.hcl, compose.yaml, …)',
  },
  fix: { type: 'bool', help: 'With --check: mend in the Dockerfiles what can be mended safely' },
  list: {
    type: 'string',
    value: 'targets|variables',
    help: 'List what the files define; type=targets,format=json',
  },
  load: { type: 'bool', help: "Put the images into Drydock's store, where outputs are images" },
  'metadata-file': { type: 'string', value: 'FILE', help: 'Write the results as JSON to a file' },
  'no-cache': { type: 'bool', help: 'Run every step again' },
  'on-error': {
    type: 'list',
    value: 'WHAT',
    help: 'When a step fails: shell (a terminal in its container), or export,dest=FOLDER,src=PATH (its files)',
  },
  policy: buildFlags.policy,
  print: { type: 'bool', help: 'Print what would be built, as JSON' },
  progress: { type: 'string', value: 'MODE', help: 'auto, tty, plain, rawjson, quiet or none' },
  provenance: { type: 'string', value: 'SPEC', help: 'The same as --set *.attest=type=provenance,SPEC' },
  pull: { type: 'bool', help: 'Ask registries for base images that are here, too' },
  push: { type: 'bool', help: 'Push the images, where outputs are images' },
  quiet: { type: 'bool', short: 'q', help: 'Print nothing but the IDs of the images' },
  sbom: { type: 'string', value: 'true|SPEC', help: 'The same as --set *.attest=type=sbom,SPEC' },
  set: {
    type: 'list',
    value: 'TARGET.KEY=VALUE',
    help: 'Override an attribute of targets: "*.platform=linux/arm64", "app.tags+=app:1"',
  },
  sign: { ...buildFlags.sign, help: 'Sign the images of the targets that push, as in drydock build' },
  'source-policy': buildFlags['source-policy'],
  ui: { type: 'bool', help: 'Show the builds on a web page, by a link that works once' },
  var: { type: 'list', value: 'NAME=VALUE', help: 'Set a variable of the file' },
  watch: { type: 'bool', help: 'Build again whenever the files, or what the targets read, have changed' },
} as const satisfies FlagTable;

type Flags = FlagValues<typeof bakeFlags>;

export default command({
  usage: '[URL] [TARGET…]',
  summary:
    'Build the targets of a bake file (HCL or JSON) or a compose file, all at once. TARGET is a target, a group or a pattern (default: default). URL is a git repository, a bake file or an archive with one.',
  flags: bakeFlags,
  operands: [0, Infinity],
  fills: true,
  run: (flags, operands, ctx) => (flags.watch ? watched(flags, operands, ctx) : bake(flags, operands, ctx)),
});

async function bake(flags: Flags, words: string[], ctx: CommandContext): Promise<number> {
  const { url, here, targets: operands } = bakeOperands(words);
  refuseBuilder(flags.builder);
  refusePolicy(flags.policy);
  if (flags.print && flags.list !== undefined)
    throw fail('invalid', 'client', '--print and --list are mutually exclusive');
  const mode = progressMode(flags);
  if (flags['metadata-file'] !== undefined) await outputTarget(flags['metadata-file']);
  const from = url === undefined ? undefined : await fetched(url, flags, ctx);
  const definitions = bakeDefinitions(flags, ctx.env, from && { files: from.files, here });
  if (flags.list !== undefined) {
    ctx.stdout.write(definitionList(definitions, flags.list));
    return 0;
  }
  const plan = planned(definitions, flags, operands, ctx.env, from?.base);
  if (flags.print) {
    ctx.stdout.write(`${printed(plan)}\n`);
    return 0;
  }
  // Named contexts are printed as they are written.
  for (const [name, target] of plan.targets) plan.targets.set(name, withContextsOf(target, from?.base));
  checkRights(plan.targets, flags.allow, trustedBy(flags.set), ctx.env);
  const names = [...plan.targets].flatMap(([name, { linked }]) => (linked ? [] : [name])).sort();
  const checks = new TargetChecks(flags, plan.targets, names);
  const prepared = await prepareAll(plan.targets, flags, ctx);
  const remote = await ctx.remote();
  const place = remote?.endpoint ?? (await ctx.engine());
  const printer = restingPrinter(mode, ctx.stderr);
  const inspector = await openInspector(debugged(flags), '.', remote !== undefined, { ...ctx, ...printer });
  if (flags.ui) refuseUiWith(flags, ['check', 'call']);
  const page = flags.ui ? await openPage(place, ctx, names.length) : undefined;
  const findings: string[] = [];
  const loud = !silentModes.has(mode);
  const stop = new AbortController();
  const signal = AbortSignal.any([ctx.signal, stop.signal]);
  const results = new Map<string, BuildResult>();
  const builds = names.map(async (name, i) => {
    const build = withLinkedBuilds(name, prepared);
    const shown = names.length === 1 ? printer : prefixed(printer, name);
    const sink = noting(findings, shown, ctx.explain !== false);
    const more = { inspector, page: page?.own, ref: page?.refs[i], root: ctx.root };
    const run = async (to = sink) => {
      const result = await runPrepared(build, place, to, signal, more);
      results.set(name, result);
      return result;
    };
    try {
      if (!build.options.check) await run();
      else await checks.run(name, async (tell) => (await run(telling(sink, tell))).warnings);
    } catch (err) {
      const error = toDrydockError(err);
      if (error.code !== 'canceled') error.message = `target ${name}: ${error.message}`;
      await inspector?.over();
      // The others need not go on: the command fails as a whole.
      stop.abort(error);
      throw error;
    }
  });
  const ended = await Promise.allSettled(builds);
  const errors = ended.flatMap((end) => (end.status === 'rejected' ? [toDrydockError(end.reason)] : []));
  printer.close();
  if (errors.length === 0) await checks.mend(ctx.stderr).catch((err) => errors.push(toDrydockError(err)));
  if (errors.length > 0) {
    if (loud) ctx.stderr.write(warningSummary(findings));
    const error = errors.find(({ code }) => code !== 'canceled') ?? (errors[0] as DrydockError);
    const told = page?.isOpened && !ctx.signal.aborted;
    // What went wrong is told before the page is looked at.
    if (told) ctx.stderr.write(errorText(error));
    await page?.seen();
    await page?.close();
    if (told) return 1;
    throw error;
  }
  const told = await report(flags, names, plan.targets, prepared, results, ctx, loud ? 'loud' : mode);
  const code = checks.report(ctx.stdout) || told;
  await page?.seen();
  await page?.close();
  return code;
}

/** The builds that definitions, flags and operands ask for. Throws `invalid` and `not-found`. */
function planned(
  definitions: Definitions,
  flags: Flags,
  operands: readonly string[],
  env: NodeJS.ProcessEnv,
  base?: string,
): ReturnType<typeof planOf> {
  const set = [...flags.set, ...shortcuts(flags)];
  const overrides = readOverrides(set, [...definitions.targets.keys()], (name) => env[name]);
  return planOf(definitions, operands.length === 0 ? ['default'] : operands, overrides, base);
}

/** The bake files of a URL. */
async function fetched(url: string, flags: Flags, ctx: CommandContext): Promise<RemoteFiles> {
  const place = (await ctx.remote())?.endpoint ?? (await ctx.engine());
  const printer = restingPrinter(progressMode(flags), ctx.stderr);
  try {
    return await remoteFiles(url, remoteNames(flags, ctx.env), place, ctx, prefixed(printer, 'bake files'));
  } finally {
    printer.close();
  }
}

function withContextsOf(target: PlannedTarget, base: string | undefined): PlannedTarget {
  const { contexts } = target;
  if (contexts === undefined || base === undefined) return target;
  const named = Object.entries(contexts).map(([name, value]) => [name, plainNamedContext(value, base)]);
  return { ...target, contexts: Object.fromEntries(named) };
}

/** Builds whenever what the builds read has changed; until definitions can be read, whenever they have. */
async function watched(flags: Flags, operands: string[], ctx: CommandContext): Promise<number> {
  const [{ watchAndBuild }, { filePlaces }, { refuseBakeWatch, targetPlaces }] = await Promise.all([
    import('../watch/run.ts'),
    import('../watch/places.ts'),
    import('../bake/watched.ts'),
  ]);
  refuseBakeWatch(flags, operands);
  const places = () => {
    const ofFiles = filePlaces(bakeFiles(flags, ctx.env));
    try {
      const { targets } = planned(bakeDefinitions(flags, ctx.env), flags, operands, ctx.env);
      const metadata = flags['metadata-file'];
      return [...ofFiles, ...targetPlaces(targets, metadata === undefined ? [] : [metadata])];
    } catch {
      // The build says what is wrong with them.
      return ofFiles;
    }
  };
  return watchAndBuild(places, ctx, (each) => bake(flags, operands, each));
}

/** The flags of looking into builds. stdin is the shell's, and cannot be the bake file, too. */
function debugged({ 'on-error': onError, file, check, call }: Flags): Parameters<typeof openInspector>[0] {
  return {
    'on-error': onError,
    invoke: undefined,
    file: file.includes('-') ? '-' : undefined,
    check: check ?? (call !== undefined && call !== 'build'),
    offline: false,
    'verify-reproducible': false,
  };
}

/** The flags that are short for overrides of all targets. */
function shortcuts(flags: Flags): string[] {
  const call = flags.check ? 'lint' : flags.call;
  return [
    ...(flags.push ? ['*.push=true'] : []),
    ...(flags.load ? ['*.load=true'] : []),
    ...(call === undefined ? [] : [`*.call=${call}`]),
    ...(flags['no-cache'] === undefined ? [] : [`*.no-cache=${flags['no-cache']}`]),
    ...(flags.pull === undefined ? [] : [`*.pull=${flags.pull}`]),
    ...(flags.sbom === undefined ? [] : [`*.attest=${attestText('sbom', flags.sbom)}`]),
    ...(flags.provenance === undefined ? [] : [`*.attest=${attestText('provenance', flags.provenance)}`]),
  ];
}

/** What the command line itself names is granted by that. */
function trustedBy(set: readonly string[]): { paths: string[]; words: string[] } {
  const paths: string[] = [];
  const words: string[] = [];
  for (const text of set) {
    const at = text.indexOf('=');
    const [, key = ''] = text.slice(0, at).replace(/\+$/, '').split('.');
    const value = text.slice(at + 1);
    if (key === 'entitlements') words.push(value);
    if (key === 'network' && value === 'host') words.push('network.host');
    if (key === 'output' && !value.includes('=')) paths.push(value);
    else if (['output', 'cache-to', 'cache-from', 'secrets', 'secret', 'ssh'].includes(key)) {
      for (const [, path = ''] of value.matchAll(/(?:^|,)(?:dest|src|source)=([^,]*)/g)) paths.push(path);
      if (key === 'ssh' && value.includes('=')) paths.push(...value.slice(value.indexOf('=') + 1).split(','));
    } else if (key === 'context' || key === 'contexts' || key === 'dockerfile') paths.push(value);
  }
  return { paths, words };
}

async function prepareAll(
  targets: ReadonlyMap<string, PlannedTarget>,
  { sign, 'source-policy': sourcePolicy }: Flags,
  ctx: CommandContext,
): Promise<Map<string, PreparedBuild>> {
  const prepared = new Map<string, PreparedBuild>();
  if (sign !== undefined && ![...targets.values()].some(pushes)) {
    throw fail('invalid', 'client', '--sign: no target pushes an image', {
      hint: 'Signatures are kept in the registry: add --push.',
    });
  }
  for (const [name, target] of targets) {
    const { flags, context, inline, links } = targetBuild(name, target);
    try {
      const signed = pushes(target) ? sign : undefined;
      const all = { ...flags, sign: signed, 'source-policy': sourcePolicy };
      const build = await prepareBuild(all, context, ctx);
      const namedContexts = { ...build.options.namedContexts, ...links };
      const options = {
        ...build.options,
        namedContexts,
        dockerfileText: inline ?? build.options.dockerfileText,
      };
      prepared.set(name, { ...build, options });
    } catch (err) {
      const error = toDrydockError(err);
      error.message = `target ${name}: ${error.message}`;
      throw error;
    }
  }
  return prepared;
}

/** Whether a target puts an image into a registry. */
function pushes({ output = [] }: PlannedTarget): boolean {
  return output.some(({ type, push }) => type === 'registry' || parseBool(String(push ?? '')) === true);
}

async function report(
  flags: Flags,
  names: readonly string[],
  plan: ReadonlyMap<string, PlannedTarget>,
  prepared: ReadonlyMap<string, PreparedBuild>,
  results: ReadonlyMap<string, BuildResult>,
  ctx: CommandContext,
  mode: string,
): Promise<number> {
  const metadata: Record<string, unknown> = {};
  let code = 0;
  for (const name of names) {
    const { options } = prepared.get(name) as PreparedBuild;
    const result = results.get(name);
    // The checks tell of a Dockerfile that cannot be built by themselves.
    if (result === undefined) continue;
    metadata[name] = metadataOf(options, result);
    const call = plan.get(name)?.call ?? 'build';
    if (options.check) continue;
    if (options.subrequest !== undefined) {
      const answer = callAnswer(call, result);
      ctx.stdout.write(`${names.length === 1 ? '' : `${name}:\n`}${answer.text}`);
      code ||= answer.code;
    } else if (mode === 'quiet') {
      if (result.imageId !== undefined) ctx.stdout.write(`${result.imageId}\n`);
    } else if (mode === 'loud') {
      const found = result.warnings.map((warning) => warningEvent(warning).short);
      ctx.stderr.write(`${warningSummary(found)}${resultLine(options, result)}`);
    }
  }
  const file = flags['metadata-file'];
  if (file !== undefined) await writeOutput(file, `${JSON.stringify(metadata, null, 2)}\n`);
  return code;
}
