/** HCL, the language of bake files: its two syntaxes, its values, its functions. Pure, but for `timestamp` and the like. */
export { hclError } from './error.ts';
export { evaluate, innerScope } from './evaluate.ts';
export { functions } from './functions/index.ts';
export { parseHcl } from './parse.ts';
export { type BlockSchema, parseJsonHcl } from './parse-json.ts';
export { convert, type Type, typeOf, typeText } from './type-expression.ts';
export type {
  Attribute,
  Block,
  Body,
  Expression,
  HclFunction,
  Scope,
  SourceFile,
  Value,
} from './types.ts';
export {
  boolOf,
  elementsOf,
  fromJson,
  isMap,
  plain,
  setOf,
  sortedEntries,
  textOf,
  typeName,
} from './values.ts';
