/**
 * Checks that imports go one way: from each room only to the rooms below it, as `allowed` says, and that no files
 * import each other in a circle. `node scripts/deps.mjs [src]`; exit status 1 when something is wrong.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

/** Lowest rooms: everyone may use them. */
const base = ['errors', 'oci', 'pb', 'linux', 'patterns', 'progress', 'flow', 'grpc', 'workers', 'words'];
/** All that holds trees, layers and images. */
const below = () => [
  ...base,
  'fs',
  'kept',
  'tar',
  'layer',
  'store',
  'registry',
  'distribution',
  'images',
  'refs',
];
/** room → rooms whose values it may import (their types too). */
const allowed = {
  errors: [],
  pb: [],
  oci: ['errors'],
  linux: ['errors'],
  patterns: ['errors'],
  progress: ['errors', 'oci'],
  grpc: ['errors'],
  words: ['errors'],
  flow: ['errors'],
  workers: ['errors', 'flow'],
  llb: [...base],
  auth: [...base],
  tar: [...base],
  fs: [...base, 'tar'],
  registry: [...base],
  layer: [...base, 'fs', 'tar', 'store'],
  store: [...base, 'fs', 'tar'],
  cache: [...base, 'store'],
  kept: [...base],
  distribution: [...base, 'store', 'registry'],
  images: [...base, 'fs', 'tar', 'layer', 'store', 'registry', 'distribution'],
  refs: [...base, 'fs', 'tar', 'layer', 'store', 'registry', 'distribution'],
  session: [...base, 'fs', 'tar', 'registry'],
  executor: [...base, 'fs', 'store'],
  solver: [...base, 'llb', 'cache', 'fs', 'store', 'session'],
  source: [...below(), 'llb', 'cache', 'session', 'solver'],
  ops: [...below(), 'llb', 'cache', 'session', 'solver', 'executor'],
  exporter: [...below(), 'session', 'solver'],
  'remote-cache': [...below(), 'llb', 'cache', 'session', 'solver', 'exporter'],
  frontend: [...base, 'llb', 'fs'],
  upkeep: [...below(), 'cache', 'solver'],
  engine: '*',
  sdk: '*',
  api: '*',
  daemon: '*',
  cli: '*',
};
/** Nobody below may import these, whatever is written above. */
const top = ['engine', 'sdk', 'api', 'daemon', 'cli'];
/** The files at the top of src that rooms may import. The others there import rooms. */
const forAll = new Set(['version.ts']);

/** Rooms and files that deal with files of trees, whose names may be no UTF-8: they reach them through linux/files.ts. */
const trees =
  /^(fs|layer|tar)\/|^session\/fsutil\/|^ops\/diff-task|^source\/unpack-folder|^executor\/stubs|^store\/(local\/tree|containerd\/link-tree)/;
/** Paths of our own, in files that are told of none else. */
const ownPaths = /^layer\/(block-writer|convert-task)|^session\/fsutil\/listing/;
/** Node's functions on files that take no path. */
const withoutPath = /^(f\w+Sync|close|closeSync|readSync|writeSync|constants|createReadStream)$/;

const root = resolve(process.argv[2] ?? join(import.meta.dirname, '..', 'src'));
const problems = [];
/** file → files whose values it imports when it is loaded */
const graph = new Map();

function* sources(dir) {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (/\.ts$/.test(entry.name) && !/\.d\.ts$/.test(entry.name)) yield path;
  }
}

/** The text with comments blanked out, line breaks kept. */
function withoutComments(text) {
  return text.replace(
    /("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`)|\/\*[\s\S]*?\*\/|(?<=^|[\s;,{}()])\/\/[^\n]*/g,
    (all, string) => string ?? all.replace(/[^\n]/g, ' '),
  );
}

/** Imports of a file: what, on which line, whether only types, whether only when called. */
function imports(text) {
  const found = [];
  const code = withoutComments(text);
  const statement =
    /^[ \t]*(?:import|export)\b(?<type>\s+type\b)?(?<names>[^;'"]*?\bfrom\s*)?\s*['"](?<from>[^'"]+)['"]|\bimport\s*\(\s*['"](?<lazy>[^'"]+)['"]\s*\)/gm;
  for (const match of code.matchAll(statement)) {
    const { type, names, from, lazy } = match.groups;
    const line = code.slice(0, match.index).split('\n').length;
    const list = /\{([^}]*)\}/.exec(names ?? '')?.[1];
    const inline =
      list !== undefined &&
      !/^\s*[\w$]+\s*,/.test(names) &&
      list.split(',').every((name) => name.trim() === '' || /^\s*type\s/.test(name));
    const given = (list ?? names ?? '').split(',').map((one) => one.trim().split(/\s/)[0]);
    found.push({
      from: from ?? lazy,
      names: given.filter((one) => one !== '' && one !== 'type'),
      line,
      types: type !== undefined || inline,
      lazy: lazy !== undefined,
    });
  }
  return found;
}

const roomOf = (path) => {
  const parts = relative(root, path).split('/');
  return parts.length === 1 ? undefined : parts[0];
};

for (const file of sources(root)) {
  const name = relative(root, file);
  const room = roomOf(file);
  if (room === 'pb') continue;
  const values = [];
  graph.set(file, values);
  for (const { from, names, line, types, lazy } of imports(readFileSync(file, 'utf8'))) {
    if (/^(node:)?fs\b/.test(from) && trees.test(name) && !ownPaths.test(name) && !types) {
      for (const each of names.filter((one) => !withoutPath.test(one)))
        problems.push(`src/${name}:${line}: take ${each} from linux/files.ts, for names that are no UTF-8`);
    }
    if (!from.startsWith('.')) continue;
    const target = resolve(dirname(file), from);
    const targetRoom = roomOf(target);
    if (!types && !lazy) values.push({ target, line });
    const say = (why) => problems.push(`src/${name}:${line}: ${why}`);
    if (!/\.(ts|js)$/.test(from)) say(`import "${from}" does not end in .ts`);
    if (relative(root, target).startsWith('..')) say(`import "${from}" leaves src`);
    else if (room === undefined || targetRoom === room) continue;
    else if (targetRoom === undefined) {
      if (!forAll.has(relative(root, target))) say(`${room} must not import the top of src (${from})`);
    } else if (!(room in allowed)) {
      say(`the room ${room} is not in scripts/deps.mjs`);
      break;
    } else if (!(targetRoom in allowed)) say(`the room ${targetRoom} is not in scripts/deps.mjs`);
    else if (allowed[room] === '*') {
      if (top.indexOf(targetRoom) > top.indexOf(room)) say(`${room} must not import ${targetRoom} (${from})`);
    } else if (allowed[room].includes(targetRoom)) continue;
    else say(`${room} must not import ${targetRoom} (${from})${types ? ', not even types' : ''}`);
  }
}

/** Circles among files, found by Tarjan's algorithm without recursion. */
function circles() {
  const index = new Map();
  const low = new Map();
  const onStack = new Set();
  const stack = [];
  const found = [];
  for (const start of graph.keys()) {
    if (index.has(start)) continue;
    const work = [{ file: start, next: 0 }];
    while (work.length > 0) {
      const frame = work.at(-1);
      const { file } = frame;
      if (frame.next === 0) {
        index.set(file, index.size);
        low.set(file, index.get(file));
        stack.push(file);
        onStack.add(file);
      }
      const edges = graph.get(file) ?? [];
      const edge = edges[frame.next++];
      if (edge === undefined) {
        work.pop();
        const parent = work.at(-1)?.file;
        if (parent !== undefined) low.set(parent, Math.min(low.get(parent), low.get(file)));
        if (low.get(file) !== index.get(file)) continue;
        const circle = [];
        for (let popped; popped !== file; ) {
          popped = stack.pop();
          onStack.delete(popped);
          circle.push(popped);
        }
        if (circle.length > 1 || edges.some(({ target }) => target === file)) found.push(circle);
      } else if (!graph.has(edge.target)) continue;
      else if (!index.has(edge.target)) work.push({ file: edge.target, next: 0 });
      else if (onStack.has(edge.target)) low.set(file, Math.min(low.get(file), index.get(edge.target)));
    }
  }
  return found;
}

for (const circle of circles()) {
  const inside = new Set(circle);
  const first = [...circle].sort()[0];
  const line = graph.get(first).find(({ target }) => inside.has(target))?.line ?? 1;
  const names = circle.map((file) => relative(root, file)).sort();
  problems.push(
    `src/${relative(root, first)}:${line}: files import each other in a circle: ${names.join(', ')}`,
  );
}

for (const problem of problems.sort()) console.error(problem);
if (problems.length > 0) {
  console.error(`${problems.length} ${problems.length === 1 ? 'import goes' : 'imports go'} the wrong way`);
  process.exitCode = 1;
}
