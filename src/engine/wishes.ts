/** What a build may be asked for by options that are no frontend's: to be verified, to be offline. Pure. */
import { fail } from '../errors/index.ts';
import { parseBool } from '../words/index.ts';

/** The options in BuildKit's API, and the build arguments that ask for the same wherever build arguments are taken. */
export const wishOptions = {
  /** Makes the build twice without cache first, and compares. */
  verify: 'verify-reproducible',
  /** Asks nobody on the network. */
  offline: 'offline',
} as const;

type Wish = keyof typeof wishOptions;
type Options = Readonly<Record<string, string>>;

const argOf = (option: string) => `build-arg:DRYDOCK_${option.toUpperCase().replaceAll('-', '_')}`;

/**
 * Takes the wishes out of a frontend's options. Throws `invalid` for a value that is no truth value.
 *
 *     takeWishes({ offline: '', target: 'app' }) // { wishes: { offline: true }, rest: { target: 'app' } }
 */
export function takeWishes(options: Options): { wishes: Partial<Record<Wish, boolean>>; rest: Options } {
  const rest: Record<string, string> = { ...options };
  const wishes: Partial<Record<Wish, boolean>> = {};
  for (const [wish, option] of Object.entries(wishOptions) as [Wish, string][]) {
    for (const name of [argOf(option), option]) {
      const text = options[name];
      if (text === undefined) continue;
      delete rest[name];
      wishes[wish] = truth(option, text);
    }
  }
  return { wishes, rest };
}

/**
 * Throws `unsupported` for wishes among the options of a frontend that a client has called: whoever can grant them has
 * taken them out.
 */
export function refuseWishes(options: Options): void {
  const { wishes } = takeWishes(options);
  for (const [wish, wanted] of Object.entries(wishes) as [Wish, boolean][]) {
    if (!wanted) continue;
    const option = wishOptions[wish];
    throw fail(
      'unsupported',
      'frontend',
      `${option}: not for a build that its client directs, as buildx does`,
      {
        hint: `Use \`drydock build --${option}\`, with --host for a daemon, or \`buildctl build --opt ${option}=true\`.`,
      },
    );
  }
}

function truth(name: string, text: string): boolean {
  const value = text === '' ? true : parseBool(text);
  if (value === undefined)
    throw fail('invalid', 'client', `${name} is no truth value: ${JSON.stringify(text)}`);
  return value;
}
