/** The functions that every bake file may call, by their names (docs/bake-stdlib.md of buildx lists them). */
import { DrydockError } from '../../errors/index.ts';
import { hclError } from '../error.ts';
import { evaluate } from '../evaluate.ts';
import { convert, typeOf } from '../type-expression.ts';
import type { HclFunction } from '../types.ts';
import { collectionFunctions } from './collections.ts';
import { dateFunctions } from './dates.ts';
import { encodingFunctions } from './encoding.ts';
import { networkFunctions } from './networks.ts';
import { numberFunctions } from './numbers.ts';
import { stringFunctions } from './strings.ts';

/** Functions that take expressions rather than values. */
const special: Record<string, HclFunction> = {
  can: {
    params: ['expression'],
    callWritten([expression], scope) {
      if (expression === undefined) return false;
      try {
        evaluate(expression, scope);
        return true;
      } catch (err) {
        if (err instanceof DrydockError) return false;
        throw err;
      }
    },
  },
  try: {
    params: [],
    variadic: 'expressions',
    callWritten(expressions, scope) {
      let last: unknown = new Error('try needs an argument');
      for (const expression of expressions) {
        try {
          return evaluate(expression, scope);
        } catch (err) {
          if (!(err instanceof DrydockError)) throw err;
          last = err;
        }
      }
      throw last;
    },
  },
  convert: {
    params: ['value', 'type'],
    callWritten([value, type, ...more], scope) {
      if (value === undefined || type === undefined || more.length > 0)
        throw new Error('convert takes a value and a type');
      try {
        return convert(evaluate(value, scope), typeOf(type));
      } catch (err) {
        if (err instanceof DrydockError) throw err;
        throw hclError(value.place, 'Invalid value', err instanceof Error ? err.message : String(err));
      }
    },
  },
};

export const functions: ReadonlyMap<string, HclFunction> = new Map(
  Object.entries({
    ...numberFunctions,
    ...stringFunctions,
    ...collectionFunctions,
    ...dateFunctions,
    ...encodingFunctions,
    ...networkFunctions,
    ...special,
  }),
);
