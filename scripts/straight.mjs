/**
 * Leads imports that go through a room's door straight to the file behind it, for a bundle. A door is a list of
 * `export { … } from './file.ts'` (scripts/deps.mjs checks that); taken as it is, whoever uses one name of a room would load
 * the whole room.
 *
 *     import { a, type B } from '../room/index.ts'   becomes   import { a } from '../room/a.ts'
 */
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { namesIn } from './imports.mjs';

const statement = /^(import|export)(\s+type)?\s*\{([^}]*)\}\s*from\s*'(\.[^']*\/index\.ts)';$/gm;

/** A door's exports: name → the file that has it, and its name there. */
export function doorOf(path, text = readFileSync(path, 'utf8')) {
  const found = new Map();
  for (const [, type, list, from] of text.matchAll(
    /^export(\s+type)?\s*\{([^}]*)\}\s*from\s*'([^']+)';$/gm,
  )) {
    for (const each of namesIn(list)) {
      found.set(each.as, {
        file: resolve(dirname(path), from),
        name: each.name,
        type: type !== undefined || each.type,
      });
    }
  }
  return found;
}

/**
 * The text of a file of `src` with its imports led straight; those of types are left out. Imports of the rooms in `whole`
 * stay as they are.
 */
export function straight(file, text, doors, src, whole = []) {
  return text.replace(statement, (all, kind, type, list, from) => {
    const door = resolve(dirname(file), from);
    if (dirname(dirname(door)) !== src || !existsSync(door)) return all;
    if (whole.includes(basename(dirname(door)))) return all;
    if (!doors.has(door)) doors.set(door, doorOf(door));
    const names = namesIn(list).filter((each) => type === undefined && !each.type);
    const lines = names.map(({ name, as }) => {
      const behind = doors.get(door).get(name);
      if (behind === undefined) throw new Error(`${file}: ${name} is not at the door ${door}`);
      const path = relative(dirname(file), behind.file);
      return `${kind} { ${behind.name === as ? as : `${behind.name} as ${as}`} } from '${path.startsWith('.') ? path : `./${path}`}';`;
    });
    // As many lines as before, so that places in maps stay right.
    return lines.join(' ') + '\n'.repeat(all.split('\n').length - 1);
  });
}

/**
 * The esbuild plugin that does it, for the sources below `src`. `whole`: rooms that are left whole. Throws when there is
 * no such room.
 */
export function straightImports(src, whole = []) {
  for (const room of whole) {
    if (!existsSync(join(src, room, 'index.ts')))
      throw new Error(`there is no room ${room} with a door in ${src}`);
  }
  const doors = new Map();
  return {
    name: 'straight-imports',
    setup(build) {
      build.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        if (!path.startsWith(join(src, '/'))) return undefined;
        return { contents: straight(path, readFileSync(path, 'utf8'), doors, src, whole), loader: 'ts' };
      });
    },
  };
}
