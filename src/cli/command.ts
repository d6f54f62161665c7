/** What a command is, and what it is given. */
import type { Engine, StoreOptions } from '../engine/index.ts';
import { fail } from '../errors/index.ts';
import { type FlagTable, type FlagValues, flagHelp, parseFlags } from './flags.ts';
import type { RemoteCall } from './remote/images.ts';

/** The root and the store that the command line names are among it. */
export interface CommandContext extends StoreOptions {
  debug: boolean;
  stdout: NodeJS.WriteStream;
  stderr: NodeJS.WriteStream;
  env: NodeJS.ProcessEnv;
  /** Fires on the first Ctrl-C. */
  signal: AbortSignal;
  /** Opens the engine once; it is closed when the command is over. */
  engine(): Promise<Engine>;
  /** The daemon that the command is for; undefined: none, the engine is opened in process. */
  remote(): Promise<RemoteCall | undefined>;
  /** Registry hosts that `--insecure-registry` names. */
  insecureRegistries: string[];
}

export interface Command {
  /** `IMAGE [IMAGE…]` */
  usage: string;
  summary: string;
  flags: FlagTable;
  /** It fills the disk: on a full one it gets none of the space that is set aside for giving space back. */
  fills?: boolean;
  /** Returns the exit code; nothing is 0. */
  run(argv: readonly string[], ctx: CommandContext): Promise<number | undefined>;
}

/** Ties a flag table to the function that takes its values, and checks the number of operands. */
export function command<const T extends FlagTable>(spec: {
  usage: string;
  summary: string;
  flags: T;
  /** Least and most operands. */
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

/** Text of `drydock NAME --help`. */
export function helpText(name: string, { usage, summary, flags }: Command): string {
  const table = flagHelp(flags);
  return `Usage: drydock ${name}${table === '' ? '' : ' [flags]'} ${usage}\n\n${summary}\n${table === '' ? '' : `\nFlags:\n${table}\n`}`;
}
