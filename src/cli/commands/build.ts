import { type BuildOptions, type BuildResult, type Engine, warningEvent } from '../../engine/index.ts';
import { fail, toDrydockError } from '../../errors/index.ts';
import { callAnswer, parseCall } from '../build/call.ts';
import { buildFlags } from '../build/flags.ts';
import { noting } from '../build/noting.ts';
import { openPage, refuseUiWith } from '../build/page.ts';
import { type BuildFlags, prepareBuild } from '../build/prepare.ts';
import { warningSummary } from '../build/report.ts';
import { metadataOf, resultLine } from '../build/result.ts';
import { runPrepared } from '../build/run.ts';
import { telling } from '../check/finding.ts';
import type { Check } from '../check/run.ts';
import { type CommandContext, command } from '../command.ts';
import { openInspector } from '../debug/open.ts';
import { errorText } from '../error-text.ts';
import { writeOutput } from '../output-file.ts';
import { progressMode, silentModes } from '../progress/mode.ts';
import { restingPrinter } from '../progress/resting.ts';

export default command({
  usage: 'CONTEXT',
  summary:
    'Build an image from a Dockerfile. CONTEXT is a folder, a git or http(s) URL, or - (a tar or a Dockerfile on stdin).',
  flags: buildFlags,
  operands: [1, 1],
  fills: true,
  async run(flags, [context = '.'], ctx) {
    if (!flags.watch) return runBuildCommand(flags, context, ctx);
    const [{ refuseWatchFlags, watchAndBuild }, { watchedPlaces }] = await Promise.all([
      import('../watch/run.ts'),
      import('../watch/places.ts'),
    ]);
    refuseWatchFlags(flags, context);
    return watchAndBuild(
      () => watchedPlaces(flags, context),
      ctx,
      (each) => runBuildCommand(flags, context, each),
    );
  },
});

/** Builds as the flags say. With `lockFile`, a lock of the build's sources is written there. */
export async function runBuildCommand(
  flags: BuildFlags,
  context: string,
  ctx: CommandContext,
  lockFile?: string,
): Promise<number> {
  const mode = progressMode(flags);
  flags = withCall(flags);
  if (flags.check || flags.fix || flags['check-format'] !== undefined) {
    const { refuseCheckFlags } = await import('../check/run.ts');
    refuseCheckFlags(flags, context);
  }
  const prepared = await prepareBuild(flags, context, ctx, lockFile !== undefined);
  const { options } = prepared;
  const remote = await ctx.remote();
  ctx.sharedCachePlace = flags['shared-cache'] ?? ctx.sharedCachePlace;
  if (remote !== undefined && flags['shared-cache'] !== undefined) {
    throw fail('unsupported', 'client', '--shared-cache is for builds without a daemon', {
      hint: 'The daemon has its own: start it with --shared-cache.',
    });
  }
  const printer = restingPrinter(mode, ctx.stderr);
  const inspector = await openInspector(flags, context, remote !== undefined, { ...ctx, ...printer });
  const engine = remote === undefined ? await ctx.engine() : undefined;
  const place = remote?.endpoint ?? (engine as Engine);
  if (flags.ui) refuseUiWith(flags, ['check', 'call', 'verify-reproducible']);
  const page = flags.ui ? await openPage(place, ctx) : undefined;
  const findings: string[] = [];
  const sink = noting(findings, printer, ctx.explain !== false);
  const loud = !silentModes.has(mode);
  let result: BuildResult & { lock?: object };
  try {
    if (flags.check) {
      const { isFaulty, mendAll, outcomeOf } = await import('../check/run.ts');
      const { checkForm, reportOf } = await import('../check/report.ts');
      const form = checkForm(flags['check-format']);
      const check: Check = {
        file: flags.file,
        context,
        async find(tell) {
          printer.resume();
          try {
            return (await runPrepared(prepared, place, telling(sink, tell), ctx.signal)).warnings;
          } finally {
            printer.pause();
          }
        },
      };
      const checked = [{ check, outcome: await outcomeOf(check, form) }];
      const [{ outcome } = checked[0]!] = flags.fix ? await mendAll(checked, form, ctx.stderr) : checked;
      ctx.stdout.write(reportOf(form, [outcome]));
      return isFaulty(outcome) && flags.call === undefined ? 1 : 0;
    }
    const shown = { page: page?.own, ref: page?.refs[0], root: ctx.root };
    result = await runPrepared(prepared, place, sink, ctx.signal, { inspector, ...shown });
  } catch (err) {
    printer.close();
    if (loud) ctx.stderr.write(warningSummary(findings));
    const told = page?.isOpened && !ctx.signal.aborted;
    // What went wrong is told before the page is looked at.
    if (told) ctx.stderr.write(errorText(toDrydockError(err)));
    await page?.seen();
    await page?.close();
    if (told) return 1;
    throw err;
  }
  printer.close();
  if (flags.call !== undefined && options.subrequest !== undefined) {
    const { text, code } = callAnswer(flags.call, result);
    ctx.stdout.write(text);
    return code;
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
  await page?.seen();
  await page?.close();
  return inspector?.exitCode ?? 0;
}

/** `--call=check` as `--check`. Throws `invalid` for flags that go with one of the two, or with a build, only. */
function withCall(flags: BuildFlags): BuildFlags {
  if (flags.call === undefined) return flags;
  const { method, format, ignoreStatus } = parseCall(flags.call);
  if (flags.check && method !== 'check') {
    throw fail('invalid', 'client', `--check and --call=${method} exclude each other`);
  }
  if (method !== 'check') return flags;
  return {
    ...flags,
    check: true,
    'check-format': flags['check-format'] ?? format,
    call: ignoreStatus ? flags.call : undefined,
  };
}

async function writeResult(flags: BuildFlags, options: BuildOptions, result: BuildResult): Promise<void> {
  if (flags.iidfile !== undefined) {
    if (result.imageId === undefined) {
      throw fail('invalid', 'client', '--iidfile: the outputs make no image', { hint: 'Add --load.' });
    }
    await writeOutput(flags.iidfile, result.imageId);
  }
  const file = flags['metadata-file'];
  if (file === undefined) return;
  await writeOutput(file, `${JSON.stringify(metadataOf(options, result), null, 2)}\n`);
}
