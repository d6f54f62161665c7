/** `drydock bake --list`: the targets and groups, or the variables, of bake files. */
import type { Definitions } from '../../bake/index.ts';
import { fail } from '../../errors/index.ts';
import { parsePairs } from '../csv.ts';
import { table } from '../units.ts';

/** The list that a flag asks for: `targets`, `variables` or `type=targets,format=json`. Throws `invalid`. */
export function definitionList(definitions: Definitions, flag: string): string {
  const pairs = flag.includes('=') ? parsePairs(flag, 'list') : new Map([['type', flag]]);
  const { type, format = 'table', ...more } = Object.fromEntries(pairs);
  if (Object.keys(more).length > 0 || (format !== 'table' && format !== 'json')) {
    throw fail('invalid', 'client', `invalid --list ${JSON.stringify(flag)}`, {
      hint: 'For example type=targets,format=json.',
    });
  }
  const rows =
    type === 'targets'
      ? targetRows(definitions)
      : type === 'variables'
        ? variableRows(definitions)
        : undefined;
  if (rows === undefined) {
    throw fail('invalid', 'client', `invalid list type ${JSON.stringify(type)}`, {
      hint: 'There are targets and variables.',
    });
  }
  if (format === 'json') return `${JSON.stringify(rows, null, 2)}\n`;
  const columns = type === 'targets' ? ['name', 'description'] : ['name', 'type', 'value', 'description'];
  const heads = columns.map((column) =>
    column === 'name' ? (type === 'targets' ? 'TARGET' : 'VARIABLE') : column.toUpperCase(),
  );
  const cell = (row: Record<string, unknown>, column: string) =>
    String(row[column] ?? (column === 'value' ? '<null>' : ''));
  return table([heads, ...rows.map((row) => columns.map((column) => cell(row, column)))]);
}

function targetRows({ groups, targets }: Definitions): Record<string, unknown>[] {
  const names = [...new Set([...groups.keys(), ...targets.keys()])]
    .filter((name) => !name.startsWith('_'))
    .sort();
  return names.map((name) => {
    const group = groups.get(name);
    if (group === undefined) return { name, description: targets.get(name)?.description };
    return { name, description: group.description ?? group.targets.join(', '), group: true };
  });
}

function variableRows({ variables }: Definitions): Record<string, unknown>[] {
  return variables.map(({ name, description, type, value }) => ({ name, description, type, value }));
}
