/** The contract of a command: the context that it gets, and its result. */
import type { Engine, StoreOptions, TellOptions } from '../engine/index.ts';
import { fail } from '../errors/index.ts';
import type { NetworkOptions } from '../network/index.ts';
import { type FlagTable, type FlagValues, flagHelp, parseFlags } from './flags.ts';
import type { RemoteCall } from './remote/images.ts';

/** The context of a command. The root and the store that the command line names are part of it. */
export interface CommandContext extends StoreOptions, TellOptions {
  /** The networks of steps, for an engine in this process. */
  network: NetworkOptions;
  debug: boolean;
  stdout: NodeJS.WriteStream;
  stderr: NodeJS.WriteStream;
  env: NodeJS.ProcessEnv;
  /** Fires on the first Ctrl-C. */
  signal: AbortSignal;
  /** The cache that the engine is to share with others, as `--shared-cache` names it; to be set before the engine opens. */
  sharedCachePlace: string | undefined;
  /** Opens the engine once; it is closed when the command is over. */
  engine(): Promise<Engine>;
  /** The daemon that the command is for; undefined: there is none, and the engine is opened in process. */
  remote(): Promise<RemoteCall | undefined>;
  /** The registry hosts that `--insecure-registry` names. */
  insecureRegistries: string[];
  /** The file that `--image-policy` names. */
  imagePolicy: string | undefined;
}

/** A command of the program. */
export interface Command {
  /** The operands, `IMAGE [IMAGE…]`. */
  usage: string;
  summary: string;
  flags: FlagTable;
  /**
   * Whether the command fills the disk. On a full disk it then gets none of the space that is set aside for giving
   * space back.
   */
  fills?: boolean;
  /** Runs the command and returns the exit code; undefined is 0. */
  run(argv: readonly string[], ctx: CommandContext): Promise<number | undefined>;
}

/** Makes a command of a flag table and the function that takes its values; the number of operands is checked. */
export function command<const T extends FlagTable>(spec: {
  usage: string;
  summary: string;
  flags: T;
  /** The fewest and the most operands. */
  operands: [number, number];
  fills?: boolean;
  run(flags: FlagValues<T>, args: string[], ctx: CommandContext): Promise<number | undefined>;
}): Command {
  return {
    ...spec,
    async run(argv, ctx) {
      const { flags, args } = parseFlags(argv, spec.flags);
      const [least, most] = spec.operands;
      if (args.length < least || args.length > most) {
        const wanted =
          least === most
            ? `exactly ${least}`
            : most === Infinity
              ? `at least ${least}`
              : `${least} to ${most}`;
        throw fail(
          'invalid',
          'client',
          `this command takes ${wanted} argument${wanted.endsWith(' 1') ? '' : 's'}, not ${args.length}`,
          {
            hint: `Usage: drydock … ${spec.usage}; --help says more.`,
          },
        );
      }
      return spec.run(flags, args, ctx);
    },
  };
}

/** The text of `drydock NAME --help`. */
export function helpText(name: string, { usage, summary, flags }: Command): string {
  const table = flagHelp(flags);
  return `Usage: drydock ${name}${table === '' ? '' : ' [flags]'} ${usage}\n\n${summary}\n${table === '' ? '' : `\nFlags:\n${table}\n`}`;
}
