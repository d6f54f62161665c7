/** Chooses what is built: targets by their names, with what they inherit, and those that they are made from. */
import { fail, nearest } from '../errors/index.ts';
import { compileGlob } from '../patterns/index.ts';
import { mergeTargets, normalized } from './attributes.ts';
import { type Overrides, overridden } from './overrides.ts';
import { plainContext } from './paths.ts';
import type { Definitions, Group, Plan, PlannedTarget, Target } from './types.ts';

/**
 * The targets for the names that are asked for, which may be groups or patterns. Throws `not-found` for a name that
 * there is not, and `invalid` for targets that are made from each other in a circle. `base`: the URL that the files came
 * from, with which their contexts begin.
 */
export function planOf(
  definitions: Definitions,
  wanted: readonly string[],
  overrides: Overrides,
  base?: string,
): Plan {
  const planner = new Planner(definitions, overrides, base);
  const names = [...new Set(wanted.flatMap((name) => planner.matching(name.replaceAll('.', '_'))))];
  const groups = new Map<string, Group>();
  const targets = new Map<string, PlannedTarget>();
  for (const name of names) {
    const found = planner.members(name);
    for (const group of found.groups) groups.set(group, definitions.groups.get(group) as Group);
    for (const target of found.targets) targets.set(target, { ...planner.resolve(target), linked: false });
  }
  const asked = names.filter((name) => !(name === 'default' && groups.has('default')));
  const before = groups.get('default');
  const all = [...new Set([...(before?.targets ?? []), ...asked])].sort();
  groups.set('default', { ...before, targets: all });
  for (const name of [...targets.keys()]) planner.link(name, targets, []);
  return { groups, targets };
}

class Planner {
  readonly #definitions: Definitions;
  readonly #overrides: Overrides;

  readonly #base: string | undefined;

  constructor(definitions: Definitions, overrides: Overrides, base: string | undefined) {
    this.#definitions = definitions;
    this.#overrides = overrides;
    this.#base = base;
  }

  matching(pattern: string): string[] {
    if (!/[*?[\]]/.test(pattern)) return [pattern];
    const glob = compileGlob(pattern);
    const { groups, targets } = this.#definitions;
    const found = [...groups.keys(), ...targets.keys()].filter((name) => glob(name));
    if (found.length > 0) return found;
    throw fail('not-found', 'client', `could not find any target matching ${JSON.stringify(pattern)}`);
  }

  /** The targets of a group, and of the groups in it; a target itself. */
  members(name: string, seen = new Set<string>()): { targets: string[]; groups: string[] } {
    const group = this.#definitions.groups.get(name);
    if (group === undefined) return { targets: [name], groups: [] };
    if (seen.has(name)) return { targets: [], groups: [] };
    seen.add(name);
    const inner = group.targets.map((each) => this.members(each, seen));
    return {
      // A group that is asked for within itself means the target of its name.
      targets: [
        ...new Set(
          inner.flatMap(({ targets }, i) => (targets.length > 0 ? targets : (group.targets[i] ?? []))),
        ),
      ],
      groups: [name, ...new Set(inner.flatMap(({ groups }) => groups))],
    };
  }

  resolve(name: string): PlannedTarget {
    const { inherits: _, ...target } = this.#inherited(name, new Map());
    return {
      ...target,
      context: plainContext(target.context ?? '.', this.#base),
      dockerfile: target.dockerfile || 'Dockerfile',
      linked: false,
    };
  }

  #inherited(name: string, visited: Map<string, Target | undefined>): Target {
    const { targets } = this.#definitions;
    const own = targets.get(name);
    if (own === undefined) {
      const like = nearest(name, [...targets.keys(), ...this.#definitions.groups.keys()]);
      throw fail('not-found', 'client', `failed to find target ${name}`, {
        hint:
          like === undefined
            ? `Targets: ${[...targets.keys()].join(', ') || 'none'}.`
            : `Did you mean ${like}?`,
      });
    }
    visited.set(name, undefined);
    let all: Target = {};
    for (const parent of own.inherits ?? []) {
      // A circle ends where it comes back to.
      const found = visited.has(parent) ? visited.get(parent) : this.#inherited(parent, visited);
      if (found !== undefined) all = mergeTargets(all, found);
    }
    const made = normalized(overridden(mergeTargets(all, own), this.#overrides.get(name)));
    visited.set(name, made);
    return made;
  }

  /** Adds the targets that a target is made from, and the entitlements that they need. */
  link(name: string, targets: Map<string, PlannedTarget>, visited: readonly string[]): void {
    const seen = [...visited, name];
    for (const [context, value] of Object.entries(targets.get(name)?.contexts ?? {})) {
      if (!value.startsWith('target:')) continue;
      const from = value.slice('target:'.length);
      if (from === name) throw fail('invalid', 'client', `target ${from} cannot link to itself`);
      if (seen.includes(from)) throw fail('invalid', 'client', `infinite loop from ${name} to ${from}`);
      if (!targets.has(from)) {
        targets.set(from, { ...this.resolve(from), output: [{ type: 'cacheonly' }], linked: true });
      }
      this.link(from, targets, seen);
      const target = targets.get(name) as PlannedTarget;
      const base = targets.get(from) as PlannedTarget;
      checkPlatforms(name, target, from, base, context);
      const entitlements = [...new Set([...(target.entitlements ?? []), ...(base.entitlements ?? [])])];
      if (entitlements.length > 0) targets.set(name, { ...target, entitlements });
    }
  }
}

function checkPlatforms(
  name: string,
  { platforms = [] }: Target,
  from: string,
  base: Target,
  context: string,
): void {
  const offered = base.platforms ?? [];
  if (platforms.length < 2 || offered.length < 2) return;
  if (platforms.every((platform) => offered.includes(platform))) return;
  throw fail(
    'invalid',
    'client',
    `target ${from} can't be used by ${name} (as the context ${context}) because its platforms ${platforms.join(', ')} are not a subset of ${offered.join(', ')}`,
  );
}
