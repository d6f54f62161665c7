/** Reads the arguments of functions. Errors name the argument by its place, from 1. */
import type { HclFunction, Value, ValueMap } from '../types.ts';
import { boolOf, elementsOf, isMap, numberOf, textOf, typeName } from '../values.ts';

/** The arguments of one call, read by their places from 0. */
export class Arguments {
  readonly all: readonly Value[];

  constructor(all: readonly Value[]) {
    this.all = all;
  }

  at(i: number): Value {
    return this.all[i] ?? null;
  }

  text(i: number): string {
    return textOf(this.at(i)) ?? this.#wrong(i, 'string');
  }

  number(i: number): number {
    return numberOf(this.at(i)) ?? this.#wrong(i, 'number');
  }

  whole(i: number): number {
    const value = this.number(i);
    return Number.isInteger(value) ? value : this.#wrong(i, 'whole number');
  }

  bool(i: number): boolean {
    return boolOf(this.at(i)) ?? this.#wrong(i, 'bool');
  }

  /** The elements of a list, tuple or set. */
  list(i: number): readonly Value[] {
    const value = this.at(i);
    return (isMap(value) ? undefined : elementsOf(value)) ?? this.#wrong(i, 'list');
  }

  texts(i: number): readonly string[] {
    return this.list(i).map((item) => textOf(item) ?? this.#wrong(i, 'list of strings'));
  }

  map(i: number): ValueMap {
    const value = this.at(i);
    return isMap(value) ? value : this.#wrong(i, 'object or map');
  }

  #wrong(i: number, wanted: string): never {
    throw new Error(`argument ${i + 1} must be a ${wanted}, not ${typeName(this.at(i))}`);
  }
}

/**
 * Makes a function of its parameters, of which the last may take all further ones: `'separator, lists…'`.
 */
export function fn(params: string, call: (args: Arguments) => Value): HclFunction {
  const names = params === '' ? [] : params.split(', ');
  const last = names.at(-1);
  const variadic = last?.endsWith('…') ? names.pop()?.slice(0, -1) : undefined;
  return { params: names, variadic, call: (args) => call(new Arguments(args)) };
}
