/** Templates of Go's text/template, for `--format`. Pure. */
export { template } from './template.ts';
export { jsonOf, mapsOf, StringMap, Struct, type Value } from './types.ts';
