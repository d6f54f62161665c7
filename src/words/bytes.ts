/** Reads and writes amounts of memory, as docker's command and daemons written in Go do (go-units). */

const amount = /^(\d+(?:\.\d*)?|\.\d+) ?(?:([kmgtp])(?:i?b)?|b)?$/i;

/** The bytes of `64m`, `1.5GiB` or `100`; units are powers of 1024, in any case. Undefined for any other text. */
export function ramInBytes(text: string): number | undefined {
  const match = amount.exec(text);
  if (match === null) return undefined;
  const [, count = '', unit = ''] = match;
  const bytes = Math.floor(Number.parseFloat(count) * 1024 ** ' kmgtp'.indexOf(unit.toLowerCase() || ' '));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** 67_108_864 → `64MiB` (powers of 1024, four digits at most), as docker's command shows memory. */
export function ramText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  for (; value >= 1023.95 && unit < 5; unit++) value /= 1024;
  return `${Number(value.toPrecision(4))}${unit === 0 ? '' : 'KMGTP'[unit - 1]}${unit === 0 ? 'B' : 'iB'}`;
}
