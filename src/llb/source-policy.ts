/**
 * Source policies: the rules that allow, deny or replace the sources of a build. Pure.
 * https://github.com/moby/buildkit/blob/master/docs/build-repro.md and proto/moby/buildkit/v1/sourcepolicy describe
 * them.
 */
import { clip, fail, type Stopping } from '../errors/index.ts';
import { Regex, type RegexMatch, type SearchBudget, searchBudget } from '../patterns/index.ts';
import type { Policy, Rule, Selector } from '../pb/moby/buildkit/v1/sourcepolicy/policy_pb.js';
import type { SourceOp } from '../pb/solver/pb/ops_pb.js';
import { atOnce, inTurns } from '../workers/index.ts';

/** Rewrites one source. Returns the same object when nothing changes. Throws `denied`, `invalid`. */
export type SourceRewrite = (source: SourceOp) => SourceOp;

/** The numbers of the enums in the wire format. */
const action = { allow: 0, deny: 1, convert: 2 };
const matching = { wildcard: 0, exact: 1, regex: 2 };
const condition = { equal: 0, different: 1, matches: 2 };

/** The largest number of conversions of one source in a row: more are taken for a circle. */
const maxConversions = 20;
/** The largest number of rules in all policies together. */
const maxRules = 2000;
/** The largest number of instructions of all patterns together; compiling that many takes some 100 ms. */
const maxSize = 100_000;
/**
 * The steps that all patterns may take for all sources together: some four seconds of CPU. Most patterns differ from most
 * names in their beginning, where that takes next to nothing.
 */
const maxSteps = 1 << 27;
/** The most sources whose rewriting is remembered. */
const maxKnown = 10_000;

/**
 * Makes the rewriting of a list of policies; undefined when they have no rules. In each policy the last matching allow
 * or deny rule decides, unless a conversion comes first: then all policies are applied again to the converted source.
 */
export function sourceRewrite(policies: readonly Policy[]): SourceRewrite | undefined {
  return atOnce(rewriteOf(policies));
}

/** Does the same with turns for other work. Throws `canceled` when the signal fires. */
export function sourceRewriteInTurns(
  policies: readonly Policy[],
  signal?: Stopping,
): Promise<SourceRewrite | undefined> {
  return inTurns(rewriteOf(policies), signal);
}

function countOf(attrs: Readonly<Record<string, string>>): number {
  let count = 0;
  for (const _ in attrs) count++;
  return count;
}

function* rewriteOf(policies: readonly Policy[]): Generator<void, SourceRewrite | undefined> {
  if (policies.reduce((sum, { rules }) => sum + rules.length, 0) > maxRules) {
    throw fail('invalid', 'client', `the source policies have more than ${maxRules} rules`);
  }
  const constraints = policies.flatMap(({ rules }) =>
    rules.map((rule) => rule.selector?.constraints.length ?? 0),
  );
  if (constraints.reduce((sum, count) => sum + count, 0) > maxRules) {
    throw fail('invalid', 'client', `the source policies have more than ${maxRules} constraints`);
  }
  const updates = policies.flatMap(({ rules }) => rules.map((rule) => countOf(rule.updates?.attrs ?? {})));
  if (updates.reduce((sum, count) => sum + count, 0) > maxRules) {
    throw fail('invalid', 'client', `the source policies have more than ${maxRules} attributes`);
  }
  let size = 0;
  const expression: Expressions = (text) => {
    const made = compileExpression(text);
    size += made.size;
    if (size <= maxSize) return made;
    throw fail('exhausted', 'client', 'the source policies are too large', {
      hint: 'Use fewer rules, and no counted repetitions such as {1000}.',
    });
  };
  const lists: Compiled[][] = [];
  for (const { rules } of policies) {
    const list: Compiled[] = [];
    for (const rule of rules) {
      yield;
      list.push(compile(rule, expression));
    }
    if (list.length > 0) lists.push(list);
  }
  if (lists.length === 0) return undefined;
  const rewrite = (source: SourceOp, budget: SearchBudget): SourceOp => {
    const named = canonicalSource(source);
    let current = named;
    for (let i = 0; i <= maxConversions; i++) {
      const next = lists.reduce(
        (found, rules) => (found === current ? pass(rules, found, budget) : found),
        current,
      );
      if (next === current) return current === named ? source : current;
      current = next;
    }
    throw fail('invalid', 'solver', `${source.identifier}: the source policy converts it without end`);
  };
  return remembering(rewrite);
}

/**
 * The rewriting with a bound on the work of all sources together. A build's definitions name most of their sources
 * several times; those are looked up.
 */
function remembering(rewrite: (source: SourceOp, budget: SearchBudget) => SourceOp): SourceRewrite {
  const known = new Map<string, SourceOp | undefined>();
  let left = maxSteps;
  return (source) => {
    const key = JSON.stringify([source.identifier, source.attrs]);
    if (known.has(key)) return known.get(key) ?? source;
    const budget = searchBudget();
    const whole = budget.left;
    const rewritten = rewrite(source, budget);
    left -= whole - budget.left;
    if (left < 0) throw tooMuchWork();
    if (known.size < maxKnown) known.set(key, rewritten === source ? undefined : rewritten);
    return rewritten;
  };
}

function tooMuchWork(): Error {
  return fail('exhausted', 'client', 'the source policies take too long for so many sources', {
    hint: 'Use fewer rules, or rules that begin with what the names begin with and have few stars.',
  });
}

/** Gives a source the one name that rules use: the folder of a git repository can be written in many ways. */
export function canonicalSource(source: SourceOp): SourceOp {
  const match = /^(git:\/\/[^#]*#[^:]*:)(.*)$/s.exec(source.identifier);
  if (match === null) return source;
  const [, before = '', subdir = ''] = match;
  const parts: string[] = [];
  for (const part of subdir.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  const folder = parts.join('/');
  const identifier = folder === '' ? before.replace(/#?:$/, '') : `${before}${folder}`;
  return identifier === source.identifier ? source : { ...source, identifier };
}

interface Compiled {
  action: number;
  matches(source: SourceOp, budget: SearchBudget): boolean;
  /** Only on conversion rules. */
  convert(source: SourceOp, budget: SearchBudget): SourceOp;
}

/** Applies one policy: returns the source after its first effective conversion, or unchanged. Throws `denied`. */
function pass(rules: readonly Compiled[], source: SourceOp, budget: SearchBudget): SourceOp {
  let denied = false;
  for (const rule of rules) {
    if (!rule.matches(source, budget)) continue;
    if (rule.action === action.convert) {
      const converted = rule.convert(source, budget);
      if (converted !== source) return converted;
    } else denied = rule.action === action.deny;
  }
  if (!denied) return source;
  const name = JSON.stringify(clip(source.identifier, 1000));
  throw fail('denied', 'solver', `source ${name} denied by policy: source denied by policy`, {
    hint: 'A rule of the build’s source policy says DENY; use another source, or change the policy.',
    details: { source: source.identifier },
  });
}

/** Compiles an expression. Throws when all expressions together get too large. */
type Expressions = (text: string) => Regex;

function compile({ action: kind, selector, updates }: Rule, expression: Expressions): Compiled {
  if (selector === undefined) throw fail('invalid', 'client', 'invalid nil selector in policy');
  if (!Object.values(action).includes(kind)) {
    throw fail('invalid', 'client', `source policy: rule ${kind} ${selector.identifier}: unknown type`);
  }
  if (kind === action.convert && updates === undefined) {
    throw fail('invalid', 'client', 'missing destination for convert rule of the source policy');
  }
  const pattern = patternOf(selector, expression);
  const constraints = selector.constraints.map((each) => constraintOf(each, expression));
  return {
    action: kind,
    matches: ({ identifier, attrs }, budget) =>
      constraints.every((holds) => holds(attrs, budget)) &&
      (identifier === selector.identifier || pattern?.test(identifier, budget) === true),
    convert(source, budget) {
      const wanted = updates?.identifier || selector.identifier;
      const identifier = rename(source.identifier, pattern, wanted, budget);
      const attrs = updates?.attrs ?? {};
      const same =
        identifier === source.identifier &&
        Object.entries(attrs).every(([name, value]) => source.attrs[name] === value);
      return same ? source : { ...source, identifier, attrs: { ...source.attrs, ...attrs } };
    },
  };
}

function constraintOf(
  { key, value, condition: how }: Selector['constraints'][number],
  expression: Expressions,
) {
  const pattern = how === condition.matches ? expression(value) : undefined;
  if (!Object.values(condition).includes(how)) {
    throw fail('invalid', 'client', `the source policy has an unknown condition (${how})`);
  }
  return (attrs: Readonly<Record<string, string>>, budget: SearchBudget): boolean => {
    const found = Object.hasOwn(attrs, key) ? (attrs[key] as string) : '';
    if (pattern !== undefined) return pattern.test(found, budget);
    return how === condition.equal ? found === value : found !== value;
  };
}

/** The names that a selector matches besides its exact identifier. */
interface NamePattern {
  test(name: string, budget: SearchBudget): boolean;
  exec(name: string, budget: SearchBudget): RegexMatch | undefined;
}

function patternOf({ identifier, matchType }: Selector, expression: Expressions): NamePattern | undefined {
  if (matchType === matching.exact) return undefined;
  if (matchType === matching.regex) return expression(identifier);
  if (matchType !== matching.wildcard) {
    throw fail('invalid', 'client', `the source policy has an unknown match type (${matchType})`);
  }
  if (identifier.includes('**')) throw fail('invalid', 'client', `invalid wildcard "**" in ${identifier}`);
  const parts = identifier.split('*');
  const escaped = parts.map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  const pattern = expression(`^${escaped.join('(.*)')}$`);
  const [prefix = ''] = parts;
  return {
    // The beginning of a name is compared first, where most names differ.
    test: (name, budget) => name.startsWith(prefix) && pattern.test(name, budget),
    exec: (name, budget) => pattern.exec(name, budget),
  };
}

function compileExpression(text: string): Regex {
  try {
    return new Regex(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const shown = JSON.stringify(clip(text, 1000));
    throw fail('invalid', 'client', `the source policy's pattern ${shown}: ${clip(why, 1000)}`, { cause });
  }
}

/** Makes the new name of a source; `$1`, `${1}` and `${name}` stand for the text that the pattern's groups matched. */
function rename(
  name: string,
  pattern: NamePattern | undefined,
  wanted: string,
  budget: SearchBudget,
): string {
  const found = pattern?.exec(name, budget);
  if (found === undefined) return wanted;
  const filled = wanted.replace(/\$(?:(\$)|(\w+)|\{(\w+)\})/g, (_, dollar, bare, braced) =>
    dollar === '$' ? '$' : groupOf(found, bare ?? braced),
  );
  // A regular expression replaces the text that it matches; a wildcard always matches the whole name.
  return name.slice(0, found.index) + filled + name.slice(found.index + (found.groups[0] ?? '').length);
}

function groupOf({ groups, names }: RegexMatch, name: string): string {
  return groups[/^\d+$/.test(name) ? Number(name) : (names.get(name) ?? -1)] ?? '';
}
