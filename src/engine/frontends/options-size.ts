import { fail } from '../../errors/index.ts';

const maxOptions = 10_000;
/** The sum of the lengths of all names and values, in characters. */
const maxLength = 2 << 20;

/**
 * Throws `exhausted` for more options, or longer ones, than anybody needs: a frontend goes through them several times
 * at once. Several lists count together; `what` names them.
 */
export function checkOptionsSize(
  options: Readonly<Record<string, string>> | readonly Readonly<Record<string, string>>[],
  what = "the frontend's options",
): void {
  let count = 0;
  let length = 0;
  for (const each of [options].flat()) {
    for (const name in each) {
      count++;
      length += name.length + (each[name] as string).length;
    }
    if (count > maxOptions) break;
  }
  if (count <= maxOptions && length <= maxLength) return;
  throw fail(
    'exhausted',
    'frontend',
    `${what} are too large: ${count} with ${length} characters, of at most ${maxOptions} and ${maxLength}`,
    {
      hint: 'Use fewer or shorter build arguments and labels; large values belong into files of the context.',
    },
  );
}
