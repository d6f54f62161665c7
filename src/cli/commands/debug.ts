import { dockerfileBuild, type Engine, runBuild } from '../../engine/index.ts';
import { fail } from '../../errors/index.ts';
import type { ProgressSink } from '../../progress/index.ts';
import { inProcessSession } from '../../session/index.ts';
import { buildFlags } from '../build/flags.ts';
import { type PreparedBuild, prepareBuild } from '../build/prepare.ts';
import { asTold } from '../build/run.ts';
import { command } from '../command.ts';
import { debugStep, type StepWish } from '../debug/at-step.ts';
import type { BuildCalls } from '../debug/container.ts';
import type { Screen } from '../debug/inspector.ts';
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
  usage: 'STEP CONTEXT',
  summary:
    'Open a shell (or --invoke=COMMAND) where a step of a build would run, before it does: with its files, mounts, secrets, environment and folder. STEP is the line of a RUN or a part of its name; the flags are those of `drydock build`.',
  flags: buildFlags,
  operands: [2, 2],
  fills: true,
  async run(flags, [step = '', context = '.'], ctx) {
    for (const name of refused) {
      const value = (flags as Record<string, unknown>)[name];
      if (value === undefined || value === false || (Array.isArray(value) && value.length === 0)) continue;
      throw fail('invalid', 'client', `drydock debug has no --${name}: it makes no result`, {
        hint: 'Leave it out.',
      });
    }
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
    const prepared = await prepareBuild(flags, context, ctx);
    const wish: StepWish = { step, command: flags.invoke ?? '' };
    const printer = restingPrinter(progressMode(flags), ctx.stderr);
    const screen: Screen = { ...ctx, ...printer };
    let code = 1;
    const direct = async (calls: BuildCalls, { options }: Pick<PreparedBuild, 'options'>) => {
      code = await debugStep(calls, options, wish, screen);
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
