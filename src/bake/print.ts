/** A plan as `--print` shows it: JSON that is a bake file itself. */
import { attributeNames } from './attributes.ts';
import type { Plan, Target } from './types.ts';

const escaped = new Set<keyof Target>(['annotations', 'dockerfile-inline', 'labels', 'args', 'extra-hosts']);

/** The plan as an object for JSON; texts are escaped where a file would take them for templates. */
export function printable({ groups, targets }: Plan): object {
  const sorted = <T>(map: ReadonlyMap<string, T>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
  const group = Object.fromEntries(
    sorted(groups).map(([name, { description, targets: members }]) => [
      name,
      { description, targets: members },
    ]),
  );
  const target = Object.fromEntries(sorted(targets).map(([name, each]) => [name, shown(each)]));
  return groups.size === 0 ? { target } : { group, target };
}

function shown(target: Target): object {
  const order: (keyof Target)[] = attributeNames.filter((name) => name !== 'inherits');
  return Object.fromEntries(
    order.flatMap((name) => {
      const value = target[name];
      if (value === undefined || isEmpty(value)) return [];
      return [[name, inOrder(escaped.has(name) ? escapedTemplates(value) : value)]];
    }),
  );
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

/** Objects with their keys in order; numbers of resources as numbers. */
function inOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inOrder);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, /^cpu-(shares|period|quota)$/.test(key) ? Number(item) : item]),
  );
}

function escapedTemplates(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll('${', '$$$${').replaceAll('%{', '%%{');
  if (Array.isArray(value)) return value.map(escapedTemplates);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, escapedTemplates(item)]));
}
