/**
 * Checks the structure of src: imports go one way, from each room to the rooms below it that `rooms.mjs` lists; between
 * rooms they go through the door, `ROOM/index.ts` (an `import()` may go straight to what it loads late); no files import
 * each other in a circle; and nothing is allowed or exported that nobody uses.
 * `node scripts/deps.mjs [src [rooms.mjs [FOLDER …]]]`: the folders' files use exports, too (tests). Exit status 1 when
 * something is wrong.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { circlesIn } from './circles.mjs';
import { exportsOf, importsOf } from './imports.mjs';

const [srcArgument, roomsArgument, ...userArguments] = process.argv.slice(2);
const top = join(import.meta.dirname, '..');
const root = resolve(srcArgument ?? join(top, 'src'));
const { ground, storeys, open, forAll } = await import(
  resolve(roomsArgument ?? join(top, 'scripts/rooms.mjs'))
);
const users =
  srcArgument === undefined ? ['test', 'bench', 'ui'].map((name) => join(top, name)) : userArguments;
const allowed = { ...ground, ...storeys };
const problems = [];

/** Rooms and files that deal with files of trees, whose names may be no UTF-8: they reach them through linux/files.ts. */
const trees =
  /^(fs|layer|tar)\/|^session\/fsutil\/|^ops\/diff-task|^source\/unpack-folder|^executor\/stubs|^store\/(local\/tree|containerd\/link-tree)/;
/** Paths of our own, in files that are told of none else. */
const ownPaths =
  /^layer\/(block-writer|convert-task)|^session\/fsutil\/listing|^fs\/(sent-contents|linked-files)/;
/** Node's functions on files that take no path. */
const withoutPath = /^(f\w+Sync|close|closeSync|readSync|writeSync|writevSync|constants|createReadStream)$/;

function* sources(dir) {
  if (!existsSync(dir)) return;
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (/\.tsx?$/.test(entry.name) && !/\.d\.ts$/.test(entry.name)) yield path;
  }
}

/** The room of a file; undefined for one at the top of src. */
function roomOf(path) {
  const parts = relative(root, path).split('/');
  return parts.length === 1 ? undefined : parts[0];
}

const isDoor = (path) => /^[^/]+\/index\.ts$/.test(relative(root, path));
const shown = (path) => `src/${relative(root, path)}`;

/** file → its text and imports, each with the file that it means */
const files = new Map();
for (const path of sources(root)) if (roomOf(path) !== 'pb') files.set(path, read(path));
/** The same of those that only use src. */
const outside = new Map(users.flatMap((dir) => [...sources(dir)]).map((path) => [path, read(path)]));

function read(path) {
  const text = readFileSync(path, 'utf8');
  const imports = importsOf(text).map((each) => ({
    ...each,
    target: each.from.startsWith('.') ? resolve(dirname(path), each.from) : undefined,
  }));
  return { text, imports };
}

/** room → rooms that it imports */
const used = new Map();
for (const [file, { imports }] of files) {
  const room = roomOf(file);
  for (const each of imports) {
    checkNames(file, each);
    if (each.target === undefined) continue;
    const say = (why) => problems.push(`${shown(file)}:${each.line}: ${why}`);
    if (!/\.(ts|js)$/.test(each.from)) say(`import "${each.from}" does not end in .ts`);
    if (relative(root, each.target).startsWith('..')) say(`import "${each.from}" leaves src`);
    else if (room !== undefined) checkRoom(room, each, say);
  }
}

/** Names of trees' files need functions that take bytes. */
function checkNames(file, { from, values = [], types, line }) {
  const name = relative(root, file);
  if (!/^(node:)?fs\b/.test(from) || !trees.test(name) || ownPaths.test(name) || types) return;
  for (const each of values.filter((one) => !withoutPath.test(one)))
    problems.push(`src/${name}:${line}: take ${each} from linux/files.ts, for names that are no UTF-8`);
}

function checkRoom(room, { from, target, types, lazy }, say) {
  const other = roomOf(target);
  if (other === room) return;
  if (!(room in allowed)) say(`the room ${room} is not in scripts/rooms.mjs`);
  else if (other === undefined) {
    if (!forAll.includes(relative(root, target))) say(`${room} must not import the top of src (${from})`);
  } else if (!(other in allowed)) say(`the room ${other} is not in scripts/rooms.mjs`);
  else {
    used.set(room, (used.get(room) ?? new Set()).add(other));
    const isGround = other in ground && !(room in ground);
    if (!isGround && !allowed[room].includes(other))
      say(`${room} must not import ${other} (${from})${types ? ', not even types' : ''}`);
    else if (!lazy && !open.includes(other) && !isDoor(target))
      say(`${from} goes past the door of ${other}: import it from ${other}/index.ts`);
  }
}

for (const [room, others] of Object.entries(allowed)) {
  for (const other of others)
    if (!used.get(room)?.has(other))
      problems.push(`scripts/rooms.mjs: ${room} may import ${other}, and never does`);
}

/** file → names that others import of it; `true` for all of them */
const wanted = new Map();
function want(target, names) {
  const before = wanted.get(target);
  if (names === undefined || before === true) wanted.set(target, true);
  else wanted.set(target, new Set([...(before ?? []), ...names]));
}
for (const [path, { text, imports }] of [...files, ...outside]) {
  for (const [, from, name] of text.matchAll(/^declare module '(\.[^']+)' \{\s*interface (\w+)/gm))
    want(resolve(dirname(path), from), [name]);
  for (const { target, names, lazy, isExport } of imports) {
    if (target === undefined) continue;
    // Of what is loaded late, all that is spoken of near by is used.
    if (lazy) want(target, new Set(text.match(/[\w$]+/g)));
    // A door's own exports do not count: somebody has to come through it.
    else if (!isDoor(path) || !isExport) want(target, names);
  }
}
for (const [door] of [...files].filter(([path]) => isDoor(path))) {
  for (const { target, names, isExport } of files.get(door).imports) {
    const taken = wanted.get(door);
    if (isExport) want(target, taken === true ? names : names?.filter((name) => taken?.has(name)));
  }
  const text = files.get(door).text.replace(/\/\*\*[\s\S]*?\*\//g, '');
  const rest = text.replace(/^export\s+(type\s+)?\{[^}]*\}\s*from\s*'\.\/[^']+';$/gm, '').trim();
  if (rest !== '') problems.push(`${shown(door)}:1: a door holds nothing but exports from the room's files`);
}
for (const [path, { text }] of files) {
  // What is at the top of src is an entry.
  if (roomOf(path) === undefined || wanted.get(path) === true) continue;
  for (const [name, line] of exportsOf(text)) {
    if (!wanted.get(path)?.has(name)) problems.push(`${shown(path)}:${line}: nobody imports ${name}`);
  }
}

/** file → files whose values it imports when it is loaded */
const graph = new Map(
  [...files].map(([path, { imports }]) => [
    path,
    imports.filter(({ target, types, lazy }) => target !== undefined && !types && !lazy),
  ]),
);
for (const circle of circlesIn(graph)) {
  const inside = new Set(circle);
  const first = [...circle].sort()[0];
  const line = graph.get(first).find(({ target }) => inside.has(target))?.line ?? 1;
  const names = circle.map((file) => relative(root, file)).sort();
  problems.push(`${shown(first)}:${line}: files import each other in a circle: ${names.join(', ')}`);
}

for (const problem of problems.sort()) console.error(problem);
if (problems.length > 0) {
  console.error(`${problems.length} ${problems.length === 1 ? 'thing is' : 'things are'} wrong`);
  process.exitCode = 1;
}
