/**
 * Source policies as JSON, in the form of EXPERIMENTAL_BUILDKIT_SOURCE_POLICY: what buildx and buildctl read. Pure.
 * https://github.com/moby/buildkit/blob/master/docs/build-repro.md
 */
import { fail, nearest } from '../errors/index.ts';
import type {
  AttrConstraint,
  Policy,
  Rule,
  Selector,
  Update,
} from '../pb/moby/buildkit/v1/sourcepolicy/policy_pb.js';

const message = 'moby.buildkit.v1.sourcepolicy';
const actions: Readonly<Record<string, number>> = { ALLOW: 0, DENY: 1, CONVERT: 2 };
const matchTypes: Readonly<Record<string, number>> = { WILDCARD: 0, EXACT: 1, REGEX: 2 };
const conditions: Readonly<Record<string, number>> = { EQUAL: 0, NOTEQUAL: 1, MATCHES: 2 };

/** Where a value stands, for errors: `drydock.lock.json: rules[3].selector`. */
type Fields = Readonly<Record<string, unknown>>;

/** Reads a policy. Throws `invalid` with the place of what is wrong, and for a name that a policy does not have. */
export function parseSourcePolicy(text: string, file: string): Policy {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw fail('invalid', 'client', `${file}: the source policy is no JSON`, { cause });
  }
  const top = fieldsOf(value, file, ['version', 'rules']);
  if (top.version !== undefined && top.version !== 1) throw bad(`${file}: version`, 'want 1');
  const rules = listOf(top.rules, `${file}: rules`).map((each, i) => ruleOf(each, `${file}: rules[${i}]`));
  return { $typeName: `${message}.Policy`, version: 1n, rules };
}

function ruleOf(value: unknown, at: string): Rule {
  const { action = 'ALLOW', selector, updates } = fieldsOf(value, at, ['action', 'selector', 'updates']);
  if (selector === undefined) throw bad(at, 'it has no selector');
  return {
    $typeName: `${message}.Rule`,
    action: enumOf(action, actions, `${at}.action`),
    selector: selectorOf(selector, `${at}.selector`),
    updates: updates === undefined || updates === null ? undefined : updateOf(updates, `${at}.updates`),
  };
}

function selectorOf(value: unknown, at: string): Selector {
  const known = ['identifier', 'match_type', 'matchType', 'constraints'];
  const { identifier, match_type, matchType = match_type, constraints } = fieldsOf(value, at, known);
  return {
    $typeName: `${message}.Selector`,
    identifier: textOf(identifier, `${at}.identifier`),
    matchType: matchType === undefined ? 0 : enumOf(matchType, matchTypes, `${at}.match_type`),
    constraints: listOf(constraints, `${at}.constraints`).map((each, i) =>
      constraintOf(each, `${at}.constraints[${i}]`),
    ),
  };
}

function constraintOf(value: unknown, at: string): AttrConstraint {
  const { key, value: wanted, condition = 'EQUAL' } = fieldsOf(value, at, ['key', 'value', 'condition']);
  return {
    $typeName: `${message}.AttrConstraint`,
    key: textOf(key, `${at}.key`),
    value: wanted === undefined ? '' : textOf(wanted, `${at}.value`),
    condition: enumOf(condition, conditions, `${at}.condition`),
  };
}

function updateOf(value: unknown, at: string): Update {
  const { identifier, attrs } = fieldsOf(value, at, ['identifier', 'attrs']);
  const given = attrs === undefined || attrs === null ? {} : fieldsOf(attrs, `${at}.attrs`);
  const texts = Object.entries(given).map(
    ([name, text]) => [name, textOf(text, `${at}.attrs.${name}`)] as const,
  );
  return {
    $typeName: `${message}.Update`,
    identifier: identifier === undefined ? '' : textOf(identifier, `${at}.identifier`),
    attrs: Object.fromEntries(texts),
  };
}

function fieldsOf(value: unknown, at: string, known?: readonly string[]): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(at, 'want an object');
  for (const name of Object.keys(value)) {
    if (known === undefined || known.includes(name)) continue;
    const near = nearest(name, known);
    throw bad(
      at,
      `there is no ${JSON.stringify(name)}${near === undefined ? '' : ` (did you mean "${near}"?)`}`,
    );
  }
  return value as Fields;
}

function listOf(value: unknown, at: string): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw bad(at, 'want a list');
  return value;
}

function textOf(value: unknown, at: string): string {
  if (typeof value !== 'string') throw bad(at, 'want a text');
  return value;
}

function enumOf(value: unknown, names: Readonly<Record<string, number>>, at: string): number {
  const found = typeof value === 'string' && Object.hasOwn(names, value) ? names[value] : value;
  if (typeof found === 'number' && Object.values(names).includes(found)) return found;
  throw bad(at, `want ${Object.keys(names).join(', ')}`);
}

function bad(at: string, why: string): Error {
  return fail('invalid', 'client', `${at}: ${why}`, { hint: '`drydock lock` writes such files.' });
}
