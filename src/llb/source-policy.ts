/**
 * Source policies: which sources a build may use, and by what they are replaced. Pure.
 * https://github.com/moby/buildkit/blob/master/docs/build-repro.md and proto/moby/buildkit/v1/sourcepolicy have them.
 */
import { fail } from '../errors/error.ts';
import type { Policy, Rule, Selector } from '../pb/moby/buildkit/v1/sourcepolicy/policy_pb.js';
import type { SourceOp } from '../pb/solver/pb/ops_pb.js';

/** A source as a build uses it. Gives back the same object when nothing changes. Throws `denied`, `invalid`. */
export type SourceRewrite = (source: SourceOp) => SourceOp;

/** The numbers of the wire format's enums. */
const action = { allow: 0, deny: 1, convert: 2 };
const matching = { wildcard: 0, exact: 1, regex: 2 };
const condition = { equal: 0, different: 1, matches: 2 };

/** Conversions of one source, one after the other, at most: more are taken for a circle. */
const maxConversions = 20;
/** Longest pattern; its running time is the policy author's own. */
const maxPattern = 4096;

/**
 * What a list of policies makes of sources; undefined when they hold no rule. In each policy the last allow or deny
 * rule that matches decides, unless a conversion comes first: then all policies are asked again about what it gave.
 */
export function sourceRewrite(policies: readonly Policy[]): SourceRewrite | undefined {
  const lists = policies.map(({ rules }) => rules.map(compile)).filter((rules) => rules.length > 0);
  if (lists.length === 0) return undefined;
  return (source) => {
    let current = source;
    for (let i = 0; i <= maxConversions; i++) {
      const next = lists.reduce((found, rules) => (found === current ? pass(rules, found) : found), current);
      if (next === current) return current;
      current = next;
    }
    throw fail('invalid', 'solver', `${source.identifier}: the source policy converts it without end`);
  };
}

interface Compiled {
  action: number;
  matches(source: SourceOp): boolean;
  /** Only of conversions. */
  convert(source: SourceOp): SourceOp;
}

/** One policy: a source as its first effective conversion makes it, or as it is. Throws `denied`. */
function pass(rules: readonly Compiled[], source: SourceOp): SourceOp {
  let denied = false;
  for (const rule of rules) {
    if (!rule.matches(source)) continue;
    if (rule.action === action.convert) {
      const converted = rule.convert(source);
      if (converted !== source) return converted;
    } else denied = rule.action === action.deny;
  }
  if (!denied) return source;
  const name = JSON.stringify(source.identifier);
  throw fail('denied', 'solver', `source ${name} denied by policy: source denied by policy`, {
    hint: 'A rule of the build’s source policy says DENY; use another source, or change the policy.',
    details: { source: source.identifier },
  });
}

function compile({ action: kind, selector, updates }: Rule): Compiled {
  if (selector === undefined) throw fail('invalid', 'client', 'a rule of the source policy has no selector');
  if (!Object.values(action).includes(kind)) {
    throw fail('invalid', 'client', `the source policy has an unknown action (${kind})`);
  }
  if (kind === action.convert && updates === undefined) {
    throw fail('invalid', 'client', 'missing destination for convert rule of the source policy');
  }
  const pattern = patternOf(selector);
  const constraints = selector.constraints.map(constraintOf);
  return {
    action: kind,
    matches: ({ identifier, attrs }) =>
      constraints.every((holds) => holds(attrs)) &&
      (identifier === selector.identifier || pattern?.test(identifier) === true),
    convert(source) {
      const wanted = updates?.identifier || selector.identifier;
      const identifier = rename(source.identifier, selector.matchType === matching.exact, pattern, wanted);
      const attrs = updates?.attrs ?? {};
      const same =
        identifier === source.identifier &&
        Object.entries(attrs).every(([name, value]) => source.attrs[name] === value);
      return same ? source : { ...source, identifier, attrs: { ...source.attrs, ...attrs } };
    },
  };
}

function constraintOf({ key, value, condition: how }: Selector['constraints'][number]) {
  const pattern = how === condition.matches ? expression(value) : undefined;
  if (!Object.values(condition).includes(how)) {
    throw fail('invalid', 'client', `the source policy has an unknown condition (${how})`);
  }
  return (attrs: Readonly<Record<string, string>>): boolean => {
    const found = Object.hasOwn(attrs, key) ? (attrs[key] as string) : '';
    if (pattern !== undefined) return pattern.test(found);
    return how === condition.equal ? found === value : found !== value;
  };
}

/** What a selector matches besides its very identifier. */
function patternOf({ identifier, matchType }: Selector): RegExp | undefined {
  if (matchType === matching.exact) return undefined;
  if (matchType === matching.regex) return expression(identifier);
  if (matchType !== matching.wildcard) {
    throw fail('invalid', 'client', `the source policy has an unknown match type (${matchType})`);
  }
  if (identifier.includes('**')) throw fail('invalid', 'client', `invalid wildcard "**" in ${identifier}`);
  const escaped = identifier.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '(.*)');
  return expression(`^${escaped}$`);
}

/** An expression as Go writes it: `(?i)` at its head and `(?P<name>…)` are the differences that policies use. */
function expression(text: string): RegExp {
  try {
    if (text.length > maxPattern) throw new Error(`it is longer than ${maxPattern} characters`);
    const [, flags = '', rest = text] = /^\(\?([ims]+)\)(.*)$/s.exec(text) ?? [];
    return new RegExp(rest.replaceAll('(?P<', '(?<'), flags);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw fail('invalid', 'client', `the source policy's pattern ${JSON.stringify(text)}: ${why}`, { cause });
  }
}

/** The name that replaces another; `$1`, `${1}` and `${name}` stand for what the pattern's groups matched. */
function rename(name: string, exact: boolean, pattern: RegExp | undefined, wanted: string): string {
  if (exact || pattern === undefined) return wanted;
  const found = pattern.exec(name);
  if (found === null) return wanted;
  const filled = wanted.replace(/\$(?:(\$)|(\w+)|\{(\w+)\})/g, (_, dollar, bare, braced) =>
    dollar === '$' ? '$' : groupOf(found, bare ?? braced),
  );
  // A regular expression replaces what it matches; a wildcard always matches the whole.
  return name.slice(0, found.index) + filled + name.slice(found.index + found[0].length);
}

function groupOf(found: RegExpExecArray, name: string): string {
  if (/^\d+$/.test(name)) return found[Number(name)] ?? '';
  return found.groups?.[name] ?? '';
}
