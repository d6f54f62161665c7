import { dockerfileBuild, type Engine, runBuild } from '../../engine/index.ts';
import { fail, toDrydockError } from '../../errors/index.ts';
import type { ProgressSink } from '../../progress/index.ts';
import { inProcessSession } from '../../session/index.ts';
import { isRemoteUrl } from '../../words/index.ts';
import { buildFlags } from '../build/flags.ts';
import { type PreparedBuild, prepareBuild } from '../build/prepare.ts';
import { asTold } from '../build/run.ts';
import { type CommandContext, command } from '../command.ts';
import { debugStep, type StepWish } from '../debug/at-step.ts';
import type { BuildCalls } from '../debug/container.ts';
import type { Screen } from '../debug/inspector.ts';
// Not late: an entry of its own would have the bundle keep a build's code in more chunks, and builds open more files.
import { isFolder, mayNameBuild, type PastBuild, pastBuild, prepareAgain } from '../debug/past.ts';
import type { BuildHistory } from '../history/builds.ts';
import { progressMode } from '../progress/mode.ts';
import { restingPrinter } from '../progress/resting.ts';

/** The flags of a build that have no meaning where it has no result. */
const refused = [
  ...['annotation', 'attest', 'cache-to', 'call', 'check', 'check-format', 'fix', 'iidfile', 'label', 'load'],
  ...[
    'metadata-file',
    'on-error',
    'output',
    'provenance',
    'push',
    'sbom',
    'sign',
    'tag',
    'ui',
    'verify-reproducible',
    'watch',
  ],
] as const;

export default command({
  usage: 'STEP CONTEXT | BUILD [STEP] [CONTEXT]',
  summary:
    'Open a shell (or --invoke=COMMAND) where a step of a build would run, before it does: with its files, mounts, secrets, environment and folder. STEP is the line of a RUN or COPY, or a part of its name; the flags are those of `drydock build`. BUILD is one of `drydock history`, made again as its record says; without a STEP, the one that failed is opened.',
  flags: buildFlags,
  operands: [1, 3],
  fills: true,
  async run(flags, operands, ctx) {
    for (const name of refused) {
      const value = (flags as Record<string, unknown>)[name];
      if (value === undefined || value === false || (Array.isArray(value) && value.length === 0)) continue;
      throw fail('invalid', 'client', `drydock debug has no --${name}: it makes no result`, {
        hint: 'Leave it out.',
      });
    }
    const { past, step, context } = await wished(operands, ctx);
    if (context === '-' || flags.file === '-') {
      throw fail('invalid', 'client', 'stdin is what is typed into the shell: it cannot be the context, too');
    }
    const remote = await ctx.remote();
    if (remote !== undefined && (flags.offline || flags['shared-cache'] !== undefined)) {
      const name = flags.offline ? '--offline' : '--shared-cache';
      throw fail('unsupported', 'client', `${name} is for drydock debug without a daemon`, {
        hint: 'Leave it out; a daemon has settings of its own.',
      });
    }
    ctx.sharedCachePlace = flags['shared-cache'] ?? ctx.sharedCachePlace;
    const prepared =
      past === undefined
        ? await prepareBuild(flags, context ?? '.', ctx)
        : await prepareAgain(past, flags, context, ctx);
    const secrets = (prepared.offered.secrets ?? []).map(({ id }) => id);
    const wish: StepWish = { step, command: flags.invoke ?? '', secrets };
    const printer = restingPrinter(progressMode(flags), ctx.stderr);
    const screen: Screen = { ...ctx, ...printer };
    let code = 1;
    const direct = async (calls: BuildCalls, { options }: Pick<PreparedBuild, 'options'>) => {
      code = await debugStep(calls, options, wish, screen).catch((err) => {
        throw step === past?.failed ? asFailedStep(err, step) : err;
      });
    };
    try {
      if (remote === undefined) await debugHere(await ctx.engine(), prepared, printer, ctx.signal, direct);
      else {
        const { remoteBuild } = await import('../remote/build.ts');
        const { options, offered } = prepared;
        await remoteBuild(remote.endpoint, options, offered, printer, ctx.signal, {
          directed: (own, asked) => direct(own, { options: asked }),
        });
      }
    } catch (err) {
      throw asTold(err);
    } finally {
      printer.close();
    }
    return code;
  },
});

/** What the operands mean: a step of a build that the flags tell, or a build of the history and its step. */
async function wished(
  operands: readonly string[],
  ctx: CommandContext,
): Promise<{ past?: PastBuild; step: string; context: string | undefined }> {
  const [first = '', ...rest] = operands;
  const past = mayNameBuild(first) ? await inHistory(ctx, (history) => pastBuild(history, first)) : undefined;
  if (past === undefined) {
    const [context, ...more] = rest;
    if (context !== undefined && more.length === 0) return { step: first, context };
    throw fail('not-found', 'client', `there is no build ${first} in the history`, {
      hint: '`drydock history ls` shows the builds. Without one: drydock debug STEP CONTEXT.',
    });
  }
  const [last = ''] = rest.slice(-1);
  const isContext = rest.length === 2 || isRemoteUrl(last) || isFolder(last);
  const step = (isContext ? rest.slice(0, -1) : rest)[0] ?? past.failed;
  if (step === undefined) {
    throw fail('invalid', 'client', `no step of build ${past.ref} has failed`, {
      hint: `Name the step: drydock debug ${first} STEP. \`drydock history logs ${first}\` shows them.`,
    });
  }
  return { past, step, context: isContext ? last : undefined };
}

/** An error of a step that was not named but had failed: it may be a COPY. */
function asFailedStep(err: unknown, step: string): Error {
  const error = toDrydockError(err);
  if (error.code === 'not-found' && error.hop === 'client')
    error.message = `there can be no shell in the place of the step that failed: ${step}`;
  return error;
}

async function inHistory<T>(ctx: CommandContext, ask: (history: BuildHistory) => Promise<T>): Promise<T> {
  const { openHistory } = await import('../history/builds.ts');
  const history = await openHistory(ctx);
  return ask(history).finally(() => history.close());
}

/** Directs a build in this process as a client of a daemon directs one there. */
async function debugHere(
  engine: Engine,
  prepared: PreparedBuild,
  below: ProgressSink,
  signal: AbortSignal,
  direct: (calls: BuildCalls, prepared: PreparedBuild) => Promise<void>,
): Promise<void> {
  const [{ directed }, { StepTails }, { callFailure }] = await Promise.all([
    import('../../engine/frontends/inspected.ts'),
    import('../remote/tails.ts'),
    import('../remote/failure.ts'),
  ]);
  const session = inProcessSession({ ...prepared.offered, runDir: engine.store.runDir });
  const tails = new StepTails(below);
  const frontend = directed(async (transport) => {
    try {
      await direct({ transport, call: { headers: {}, signal } }, prepared);
    } catch (err) {
      throw await tails.complete(callFailure(err));
    }
  });
  try {
    await runBuild(engine, { ...dockerfileBuild(prepared.options), frontend }, session, tails.sink, signal);
  } finally {
    await session.close();
  }
}
