/** Reads numbers in tar's forms. All functions return undefined for malformed input. */

/**
 * Reads a numeric header field: octal digits padded with spaces and NULs, or GNU's base-256 when the top bit is set. An
 * empty field is 0. Values that a double cannot hold exactly are undefined.
 */
export function headerNumber(block: Buffer, at: number, length: number): number | undefined {
  const first = block[at] ?? 0;
  if (first & 0x80) return base256(block, at, length);
  let i = at;
  let end = at + length;
  while (i < end && (block[i] === 0x20 || block[i] === 0)) i++;
  while (end > i && (block[end - 1] === 0x20 || block[end - 1] === 0)) end--;
  let value = 0;
  for (; i < end; i++) {
    const digit = (block[i] ?? 0) - 0x30;
    // Careless writers leave other bytes after a NUL or a space inside the field.
    if (block[i] === 0 || block[i] === 0x20) break;
    if (digit < 0 || digit > 7) return undefined;
    value = value * 8 + digit;
  }
  return Number.isSafeInteger(value) ? value : undefined;
}

function base256(block: Buffer, at: number, length: number): number | undefined {
  const negative = ((block[at] ?? 0) & 0x40) !== 0;
  let value = BigInt((block[at] ?? 0) & 0x3f);
  for (let i = 1; i < length; i++) value = (value << 8n) | BigInt(block[at + i] ?? 0);
  if (negative) value -= 1n << BigInt(length * 8 - 2);
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : undefined;
}

/** Reads a decimal count of a PAX record. */
export function decimal(text: string): number | undefined {
  if (!/^\d{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** Reads PAX's seconds with a fraction (`-1.5`, `1700000000.123456789`) as ns; further digits are cut. */
export function paxTimeNs(text: string): bigint | undefined {
  const match = /^(-?)(\d{1,14})(?:\.(\d*))?$/.exec(text);
  if (match === null) return undefined;
  const [, sign, seconds = '0', fraction = ''] = match;
  const ns = BigInt(seconds) * 1_000_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, '0'));
  return sign === '-' ? -ns : ns;
}
