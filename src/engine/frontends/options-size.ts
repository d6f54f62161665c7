import { fail } from '../../errors/index.ts';

const maxOptions = 10_000;
/** The sum of the lengths of all names and values, in characters. */
const maxLength = 2 << 20;

/**
 * Throws `exhausted` for more options, or longer ones, than anybody needs: a frontend goes through them several times
 * at once.
 */
export function checkOptionsSize(options: Readonly<Record<string, string>>): void {
  let count = 0;
  let length = 0;
  for (const [name, value] of Object.entries(options)) {
    count++;
    length += name.length + value.length;
  }
  if (count <= maxOptions && length <= maxLength) return;
  throw fail(
    'exhausted',
    'frontend',
    `the frontend's options are too large: ${count} with ${length} characters, of at most ${maxOptions} and ${maxLength}`,
    {
      hint: 'Use fewer or shorter build arguments and labels; large values belong into files of the context.',
    },
  );
}
