/** A plan as `--print` shows it: JSON that is a bake file itself, byte for byte as buildx writes it. */
import { attributeNames } from './attributes.ts';
import type { Plan, Target } from './types.ts';

const escaped = new Set<keyof Target>(['annotations', 'dockerfile-inline', 'labels', 'args', 'extra-hosts']);

/** The plan as JSON; texts are escaped where a file would take them for templates. */
export function printed({ groups, targets }: Plan): string {
  const group = new Map(
    [...groups].map(([name, { description, targets: members }]) => [
      name,
      new Fields([
        ...(description === undefined ? [] : [['description', description] as const]),
        ['targets', members],
      ]),
    ]),
  );
  const target = new Map([...targets].map(([name, each]) => [name, shown(each)]));
  const all: [string, unknown][] = groups.size === 0 ? [] : [['group', group]];
  return json(new Fields([...all, ['target', target]]), '');
}

/** The fields of an object that stay in their order. */
class Fields {
  readonly list: readonly (readonly [string, unknown])[];

  constructor(list: readonly (readonly [string, unknown])[]) {
    this.list = list;
  }
}

function shown(target: Target): Fields {
  const order: (keyof Target)[] = attributeNames.filter((name) => name !== 'inherits');
  return new Fields(
    order.flatMap((name) => {
      const value = target[name];
      if (value === undefined || isEmpty(value)) return [];
      return [[name, asGiven(name, escaped.has(name) ? escapedTemplates(value) : value)] as const];
    }),
  );
}

/** Resources are numbers, and a secret's fields have an order of their own. */
function asGiven(name: keyof Target, value: unknown): unknown {
  if (name === 'secret' && Array.isArray(value)) {
    const fields = ['id', 'src', 'env'];
    return value.map(
      (secret) => new Fields(fields.filter((key) => key in secret).map((key) => [key, secret[key]])),
    );
  }
  if (name !== 'resources') return value;
  return new Map(
    Object.entries(value as object).map(([key, item]) => [
      key,
      /^cpu-(shares|period|quota)$/.test(key) ? Number(item) : item,
    ]),
  );
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

/** JSON as Go writes it: keys in the order of their texts, and what HTML takes for its own in escapes. */
function json(value: unknown, indent: string): string {
  const inner = `${indent}  `;
  const around = (open: string, items: readonly string[], close: string) =>
    items.length === 0 ? open + close : `${open}\n${inner}${items.join(`,\n${inner}`)}\n${indent}${close}`;
  if (Array.isArray(value))
    return around(
      '[',
      value.map((item) => json(item, inner)),
      ']',
    );
  if (typeof value !== 'object' || value === null) return plainJson(value);
  const sorted = () =>
    [...(value instanceof Map ? value : Object.entries(value))].sort(([a], [b]) => (a < b ? -1 : 1));
  const fields = value instanceof Fields ? value.list : sorted();
  return around(
    '{',
    fields.map(([key, item]) => `${plainJson(key)}: ${json(item, inner)}`),
    '}',
  );
}

function plainJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function escapedTemplates(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll('${', '$$$${').replaceAll('%{', '%%{');
  if (Array.isArray(value)) return value.map(escapedTemplates);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, escapedTemplates(item)]));
}
