import type { BuildFacts } from '../../api/index.ts';
import { fail } from '../../errors/index.ts';
import { type CommandContext, command } from '../command.ts';
import type { FlagTable, FlagValues } from '../flags.ts';
import { formatRows } from '../format.ts';
import type { BuildHistory } from '../history/builds.ts';
import { progressMode } from '../progress/mode.ts';
import { createPrinter } from '../progress/printer.ts';
import { table } from '../units.ts';

const flags = {
  all: { type: 'bool', short: 'a', help: 'rm: all builds that have ended' },
  filter: {
    type: 'list',
    value: 'FILTER',
    help: 'ls: status=error, repository=URL, startedAt>=24h, duration>1m …; several in one, separated by commas',
  },
  format: { type: 'string', value: 'FORMAT', help: 'json, or a template: {{.Ref}} {{.Name}}' },
  human: { type: 'bool', short: 'H', help: '', hidden: true },
  'no-trunc': { type: 'bool', help: 'Whole references and commands' },
  platform: { type: 'string', value: 'OS/ARCH', help: 'Of an image of several platforms: this one' },
  progress: { type: 'string', value: 'MODE', help: 'logs: plain (default), tty or rawjson' },
  quiet: { type: 'bool', short: 'q', help: 'References or IDs only' },
} as const satisfies FlagTable;

type Flags = FlagValues<typeof flags>;

export default command({
  usage: 'ls | inspect [BUILD] | logs [BUILD] | rm BUILD… | IMAGE',
  summary: `Show the builds of a daemon, running and ended: their list, one's details, its progress. BUILD is a reference or the
beginning of one; ^0 is the newest (the default), ^1 the one before. Of an IMAGE: the steps that made it.`,
  flags,
  operands: [1, Infinity],
  async run(given, [action = '', ...operands], ctx) {
    if (given.human === false) {
      throw fail('unsupported', 'client', '--human=false: times and sizes are written for people', {
        hint: 'Leave the flag out.',
      });
    }
    if (!['ls', 'inspect', 'logs', 'rm'].includes(action)) {
      if (operands.length > 0) throw unknown([action, ...operands]);
      const { imageHistoryText } = await import('../history/image.ts');
      ctx.stdout.write(await imageHistoryText(action, given, ctx));
      return 0;
    }
    // Loaded only when asked for: protobuf is not small.
    const [{ commandFilters }, { openHistory }, { factsOf }, { chosen }] = await Promise.all([
      import('../../api/buildkit/history/filter.ts'),
      import('../history/builds.ts'),
      import('../../api/buildkit/history/facts.ts'),
      import('../history/chosen.ts'),
    ]);
    const filters = action === 'ls' ? commandFilters(given.filter) : [];
    const history = await openHistory(ctx);
    try {
      const now = Date.now();
      const builds = (await history.list(filters)).map((record) => factsOf(record, now));
      const find = (word: string) => {
        const build = chosen(builds, word);
        if (build !== undefined) return build;
        throw fail('not-found', 'client', `no such build ${word}`, {
          hint: '`drydock history ls` shows the builds.',
        });
      };
      if (action === 'ls' && operands.length === 0) return await list(builds, given, now, ctx);
      if (action === 'rm') return await remove(history, builds, operands.map(find), given.all === true, ctx);
      const [word = '^0', ...more] = operands;
      if (more.length > 0 || action === 'ls') throw unknown([action, ...operands]);
      return await (action === 'inspect'
        ? inspect(find(word), given, ctx)
        : logs(history, find(word), given, ctx));
    } finally {
      await history.close();
    }
  },
});

function unknown(words: readonly string[]): Error {
  return fail('invalid', 'client', `unknown: drydock history ${words.join(' ')}`, {
    hint: 'Say `drydock history ls`, `… inspect [BUILD]`, `… logs [BUILD]`, `… rm BUILD…` or `… IMAGE`.',
  });
}

async function list(
  builds: readonly BuildFacts[],
  given: Flags,
  now: number,
  ctx: CommandContext,
): Promise<number> {
  const { rowFields, rowOf } = await import('../history/text.ts');
  if (given.quiet) {
    ctx.stdout.write(builds.map(({ ref }) => `${ref}\n`).join(''));
    return 0;
  }
  const rows = builds.map((build) => rowOf(build, now));
  if (given.format !== undefined) {
    ctx.stdout.write(formatRows(given.format, rows, rowFields));
    return 0;
  }
  const short = (text: string, length: number) =>
    given['no-trunc'] || text.length <= length ? text : `${text.slice(0, length - 1)}…`;
  ctx.stdout.write(
    table([
      ['BUILD', 'NAME', 'STATUS', 'CREATED', 'DURATION', 'STEPS'],
      ...rows.map(({ Ref, Name, Status, CreatedAt, Duration, Steps }) => [
        given['no-trunc'] ? Ref : Ref.slice(0, 13),
        short(Name, 48),
        Status,
        CreatedAt,
        Duration,
        Steps,
      ]),
    ]),
  );
  return 0;
}

async function inspect(build: BuildFacts, given: Flags, ctx: CommandContext): Promise<number> {
  if (given.format === 'json') ctx.stdout.write(`${JSON.stringify(build, undefined, 2)}\n`);
  else if (given.format !== undefined) {
    const { rowFields, rowOf } = await import('../history/text.ts');
    ctx.stdout.write(formatRows(given.format, [rowOf(build, Date.now())], rowFields));
  } else ctx.stdout.write((await import('../history/text.ts')).details(build));
  return 0;
}

/** Writes the progress of a build as it was, or, of one that runs, as it goes on. */
async function logs(
  history: BuildHistory,
  { ref }: BuildFacts,
  given: Flags,
  ctx: CommandContext,
): Promise<number> {
  const { replay } = await import('../../api/shared/replay.ts');
  const printer = createPrinter(progressMode({ progress: given.progress ?? 'plain' }), ctx.stdout);
  try {
    for await (const message of history.progress(ref)) replay(message, printer);
  } finally {
    printer.close();
  }
  return 0;
}

async function remove(
  history: BuildHistory,
  builds: readonly BuildFacts[],
  named: readonly BuildFacts[],
  all: boolean,
  ctx: CommandContext,
): Promise<number> {
  if (all === named.length > 0) {
    throw fail(
      'invalid',
      'client',
      all ? 'rm takes builds or --all, not both' : 'rm needs a BUILD, or --all',
    );
  }
  const doomed = all ? builds.filter(({ status }) => status !== 'running') : named;
  const running = doomed.find(({ status }) => status === 'running');
  if (running !== undefined) {
    throw fail('conflict', 'client', `build ${running.ref} has not ended`, { hint: 'Stop it first.' });
  }
  for (const { ref } of doomed) {
    await history.remove(ref);
    ctx.stdout.write(`${ref}\n`);
  }
  return 0;
}
