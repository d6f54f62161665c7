/** Functions of numbers and truth values. */
import type { HclFunction } from '../types.ts';
import { equals } from '../values.ts';
import { fn } from './arguments.ts';

function divisor(value: number): number {
  if (value === 0) throw new Error('divide by zero');
  return value;
}

/** Reads a whole number in a base from 2 to 62, with Go's digits. */
function parseInBase(text: string, base: number): number {
  if (base < 2 || base > 62) throw new Error('base must be a whole number between 2 and 62 inclusive');
  const digits = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
  const sign = /^[+-]/.exec(text)?.[0] ?? '';
  const body = text.slice(sign.length);
  let value = 0n;
  for (const char of base <= 36 ? body.toLowerCase() : body) {
    const digit = digits.indexOf(char);
    if (digit < 0 || digit >= base)
      throw new Error(`cannot parse ${JSON.stringify(text)} as a base ${base} integer`);
    value = value * BigInt(base) + BigInt(digit);
  }
  if (body === '') throw new Error(`cannot parse ${JSON.stringify(text)} as a base ${base} integer`);
  return Number(sign === '-' ? -value : value);
}

export const numberFunctions: Record<string, HclFunction> = {
  absolute: fn('num', (a) => Math.abs(a.number(0))),
  add: fn('a, b', (a) => a.number(0) + a.number(1)),
  and: fn('a, b', (a) => a.bool(0) && a.bool(1)),
  ceil: fn('num', (a) => Math.ceil(a.number(0))),
  divide: fn('a, b', (a) => a.number(0) / divisor(a.number(1))),
  equal: fn('a, b', (a) => equals(a.at(0), a.at(1))),
  floor: fn('num', (a) => Math.floor(a.number(0))),
  greaterthan: fn('a, b', (a) => a.number(0) > a.number(1)),
  greaterthanorequalto: fn('a, b', (a) => a.number(0) >= a.number(1)),
  int: fn('num', (a) => Math.trunc(a.number(0))),
  lessthan: fn('a, b', (a) => a.number(0) < a.number(1)),
  lessthanorequalto: fn('a, b', (a) => a.number(0) <= a.number(1)),
  log: fn('num, base', (a) => Math.log(a.number(0)) / Math.log(a.number(1))),
  max: fn('number, numbers…', (a) => Math.max(...a.all.map((_, i) => a.number(i)))),
  min: fn('number, numbers…', (a) => Math.min(...a.all.map((_, i) => a.number(i)))),
  modulo: fn('a, b', (a) => a.number(0) % divisor(a.number(1))),
  multiply: fn('a, b', (a) => a.number(0) * a.number(1)),
  negate: fn('num', (a) => -a.number(0)),
  not: fn('val', (a) => !a.bool(0)),
  notequal: fn('a, b', (a) => !equals(a.at(0), a.at(1))),
  or: fn('a, b', (a) => a.bool(0) || a.bool(1)),
  parseint: fn('number, base', (a) => parseInBase(a.text(0), a.whole(1))),
  pow: fn('num, power', (a) => a.number(0) ** a.number(1)),
  signum: fn('num', (a) => Math.sign(a.number(0))),
  subtract: fn('a, b', (a) => a.number(0) - a.number(1)),
};
