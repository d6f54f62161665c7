/** Globs, Go's regular expressions and containerd's filters, matched in time linear in the text. Pure. */
export type { PatternMemory } from './automaton.ts';
export { checkFiltersLength, type Fields, readFilters } from './filter.ts';
export { compileGlob, type Glob } from './glob.ts';
export { Regex, type RegexMatch, type SearchBudget, searchBudget } from './regex.ts';
export { fitsWildcards } from './wildcards.ts';
