import { fail, nearest } from '../../errors/index.ts';
import { version } from '../../version.ts';
import {
  noFlags,
  pruneFlags,
  pruneHistories,
  pruneRecords,
  showInfo,
  showUsage,
  showWorkers,
  usageFlags,
  workersFlags,
} from '../buildctl/calls.ts';
import { type Connection, connectionFlags, connectTo } from '../buildctl/connection.ts';
import { dialStdio } from '../buildctl/dial-stdio.ts';
import type { Command, CommandContext } from '../command.ts';
import { type FlagTable, type FlagValues, parseFlags } from '../flags.ts';

/** What is run with the arguments after a command's name. */
type Verb = (
  argv: readonly string[],
  connect: () => Promise<Connection>,
  ctx: CommandContext,
) => Promise<void>;

const verbs: Record<string, Verb> = {
  'debug info': verb(noFlags, (to, _flags, ctx) => showInfo(to, ctx)),
  'debug workers': verb(workersFlags, showWorkers),
  'dial-stdio': verb(noFlags, ({ endpoint }, _flags, { stdout, signal }) =>
    dialStdio(endpoint, { input: process.stdin, output: stdout, signal }),
  ),
  du: verb(usageFlags, showUsage),
  prune: verb(pruneFlags, pruneRecords),
  'prune-histories': verb(noFlags, pruneHistories),
};

/** buildctl's commands for which there are others here. */
const elsewhere: Record<string, string> = {
  build: '`drydock build` builds Dockerfiles; BuildKit’s own buildctl builds everything else at this daemon.',
  'debug logs': '`docker buildx history logs` shows them.',
  'debug histories': '`docker buildx history ls` lists them.',
  'debug get': 'BuildKit’s own buildctl reads blobs of this daemon.',
  'debug monitor': 'GET /metrics of the daemon and its log say what goes on.',
  'debug dump-llb': 'BuildKit’s own buildctl prints definitions.',
};

/** buildctl, as far as drivers, probes and operators of a daemon use it; docs/image.md says which commands there are. */
const buildctl: Command = {
  usage: `[--addr ADDRESS] ${Object.keys(verbs).join(' | ')}`,
  summary: `Ask a buildkitd (a Drydock, or BuildKit's own) as buildctl does: what the drivers of buildx, probes and
operators need of it.`,
  flags: { ...connectionFlags, ...pruneFlags },
  async run(argv, ctx) {
    const at = beginOfVerb(argv);
    const { flags } = parseFlags(argv.slice(0, at), {
      ...connectionFlags,
      version: { type: 'bool', short: 'v', help: '' },
    });
    if (flags.version) {
      ctx.stdout.write(`buildctl drydock ${version}\n`);
      return 0;
    }
    if (flags.debug) ctx.debug = true;
    const words = argv.slice(at);
    const size = words[0] === 'debug' ? 2 : 1;
    const name = words.slice(0, size).join(' ');
    const run = Object.hasOwn(verbs, name) ? verbs[name] : undefined;
    if (run === undefined) throw unknownVerb(name);
    await run(words.slice(size), () => connectTo(flags, ctx.env, ctx.signal), ctx);
    return 0;
  },
};
export default buildctl;

function verb<const T extends FlagTable>(
  table: T,
  run: (connection: Connection, flags: FlagValues<T>, ctx: CommandContext) => Promise<void>,
): Verb {
  return async (argv, connect, ctx) => {
    const { flags, args } = parseFlags(argv, table);
    if (args.length > 0) throw fail('invalid', 'client', `unexpected argument ${JSON.stringify(args[0])}`);
    await run(await connect(), flags, ctx);
  };
}

/** The index of the first word that is neither a flag nor a flag's value. */
function beginOfVerb(argv: readonly string[]): number {
  const table: FlagTable = connectionFlags;
  let at = 0;
  while (argv[at]?.startsWith('-')) {
    const name = (argv[at++] as string).replace(/^--?/, '');
    if (Object.hasOwn(table, name) && table[name]?.type !== 'bool') at++;
  }
  return Math.min(at, argv.length);
}

function unknownVerb(name: string): Error {
  const hint = Object.hasOwn(elsewhere, name) ? elsewhere[name] : undefined;
  if (hint !== undefined)
    return fail('unsupported', 'client', `buildctl ${name} is not part of Drydock`, { hint });
  const like = nearest(name, Object.keys(verbs));
  return fail(
    'invalid',
    'client',
    name === '' ? 'which command of buildctl?' : `unknown command: buildctl ${name}`,
    {
      hint:
        like === undefined
          ? `There are ${Object.keys(verbs).join(', ')}.`
          : `Did you mean \`buildctl ${like}\`?`,
    },
  );
}
