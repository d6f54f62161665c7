/** Reads amounts of memory, as docker's command and daemons written in Go do (go-units' RAMInBytes). */

const amount = /^(\d+(?:\.\d*)?|\.\d+) ?(?:([kmgtp])(?:i?b)?|b)?$/i;

/** The bytes of `64m`, `1.5GiB` or `100`; units are powers of 1024, in any case. Undefined for any other text. */
export function ramInBytes(text: string): number | undefined {
  const match = amount.exec(text);
  if (match === null) return undefined;
  const [, count = '', unit = ''] = match;
  const bytes = Math.floor(Number.parseFloat(count) * 1024 ** ' kmgtp'.indexOf(unit.toLowerCase() || ' '));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}
