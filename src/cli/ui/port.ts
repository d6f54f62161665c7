import { fail } from '../../errors/index.ts';

/** The port that a flag names; undefined for none. Throws `invalid`. */
export function portIn(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const port = Number(text);
  if (Number.isInteger(port) && port > 0 && port < 65536) return port;
  throw fail('invalid', 'client', `${text} is no port`);
}
