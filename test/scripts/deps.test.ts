/** `npm run lint` keeps the rooms of src apart: which may import which, by their doors, and nothing for nobody. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { doorOf, straight, straightImports } from '../kit/straight.ts';

let dir: string | undefined;
afterEach(() => {
  if (dir !== undefined) rmSync(dir, { recursive: true, force: true });
});

type Rooms = Record<string, string[]>;

/** What the check says of files below `src` in a house of these rooms: their problems, line by line. */
function check(storeys: Rooms, files: Record<string, string>): { status: number | null; said: string[] } {
  dir = mkdtempSync(join(tmpdir(), 'drydock-deps-'));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  }
  const table = { ground: { errors: [] }, storeys, open: ['pb'], forAll: ['version.ts'] };
  const lines = Object.entries(table).map(
    ([name, value]) => `export const ${name} = ${JSON.stringify(value)};`,
  );
  writeFileSync(join(dir, 'rooms.mjs'), lines.join('\n'));
  const script = join(import.meta.dirname, '../../scripts/deps.mjs');
  const args = [script, join(dir, 'src'), join(dir, 'rooms.mjs'), join(dir, 'test')];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  return { status, said: stderr.split('\n').filter((line) => line !== '') };
}

const errors = {
  'src/errors/index.ts': "export { fail } from './error.ts';\n",
  'src/errors/error.ts':
    "// import { a } from '../cli/main.ts';\n/* import '../cli/main.ts' */\nexport const fail = 1;\n",
};

test('imports of listed rooms through their doors are fine, and so are those of the ground floor', () => {
  const { status, said } = check(
    { fs: [], ops: ['fs'], cli: ['ops'] },
    {
      ...errors,
      'src/fs/index.ts': "export { type A, b } from './b.ts';\n",
      'src/fs/b.ts':
        "import { fail } from '../errors/index.ts';\nexport interface A {}\nexport const b = fail;\n",
      'src/ops/index.ts': "export { c } from './c.ts';\n",
      'src/ops/c.ts': "import { type A, b } from '../fs/index.ts';\nexport const c: A = b;\n",
      'src/cli/main.ts':
        "import { c } from '../ops/index.ts';\nconsole.log(c, version);\nimport { version } from '../version.ts';\n",
      'src/version.ts': 'export const version = 1;\n',
    },
  );
  expect(said).toEqual([]);
  expect(status).toBe(0);
});

test('an import of a room that is not listed is named with its file and line, lazy or not, types too', () => {
  const { status, said } = check(
    { fs: [], solver: [] },
    {
      'src/fs/a.ts': "\nimport { x } from '../solver/index.ts';\nconst y = () => import('../solver/y.ts');\n",
      'src/solver/index.ts': "export { x } from './x.ts';\n",
      'src/solver/x.ts': "import type { Z } from '../fs/index.ts';\nexport const x = 1;\n",
      'src/solver/y.ts': "import type { Tasks } from '../tasks.ts';\n",
      'src/odd/e.ts': "import '../fs/index.ts';\n",
    },
  );
  expect(status).toBe(1);
  expect(said).toEqual([
    'src/fs/a.ts:2: fs must not import solver (../solver/index.ts)',
    'src/fs/a.ts:3: fs must not import solver (../solver/y.ts)',
    'src/odd/e.ts:1: the room odd is not in scripts/rooms.mjs',
    'src/solver/x.ts:1: solver must not import fs (../fs/index.ts), not even types',
    'src/solver/y.ts:1: solver must not import the top of src (../tasks.ts)',
    '5 things are wrong',
  ]);
});

test('a room is entered by its door; what is loaded late may be reached directly', () => {
  const { said } = check(
    { fs: [], cli: ['fs'] },
    {
      'src/fs/index.ts': "export { a } from './a.ts';\nexport const own = 1;\n",
      'src/fs/a.ts': 'export const a = 1;\n',
      'src/fs/late.ts': 'export const late = 1;\n',
      'src/cli/main.ts':
        "import { a } from '../fs/a.ts';\nimport { own } from '../fs/index.ts';\nconst { late } = await import('../fs/late.ts');\n",
    },
  );
  expect(said).toEqual([
    'src/cli/main.ts:1: ../fs/a.ts goes past the door of fs: import it from fs/index.ts',
    "src/fs/index.ts:1: a door holds nothing but exports from the room's files",
    'src/fs/index.ts:1: nobody imports a',
    '3 things are wrong',
  ]);
});

test('what is allowed and never used, or exported and never imported, is told; tests use exports too', () => {
  const { said } = check(
    { tar: [], fs: ['tar'] },
    {
      'src/tar/a.ts': 'export const a = 1;\nexport function b() {}\nexport interface C {}\n',
      'src/fs/x.ts': "import { b } from './y.ts';\n",
      'src/fs/y.ts': 'export const b = 1;\nexport { b as c };\n',
      'test/a.test.ts': "import { a, type C } from '../src/tar/a.ts';\n",
    },
  );
  expect(said).toEqual([
    'scripts/rooms.mjs: fs may import tar, and never does',
    'src/fs/y.ts:2: nobody imports c',
    'src/tar/a.ts:2: nobody imports b',
    '3 things are wrong',
  ]);
});

test('files that import each other are a circle; types and lazy imports are not', () => {
  const { said } = check(
    { tar: [], fs: [] },
    {
      'src/fs/a.ts': "import { b } from './b.ts';\nexport const a = b;\n",
      'src/fs/b.ts': "import { c } from './c.ts';\nexport const b = c;\n",
      'src/fs/c.ts': "import { a } from './a.ts';\nexport const c = a;\n",
      'src/tar/a.ts': "import type { b } from './b.ts';\nexport const a = 1;\n",
      'src/tar/b.ts': "import { a } from './a.ts';\nexport const b = () => import('./a.ts');\n",
    },
  );
  expect(said).toEqual([
    'src/fs/a.ts:1: files import each other in a circle: fs/a.ts, fs/b.ts, fs/c.ts',
    '1 thing is wrong',
  ]);
});

test('files of trees are not reached by Node’s own functions on paths', () => {
  const { said } = check(
    { fs: [], layer: [], cli: [] },
    {
      'src/fs/a.ts':
        "import { closeSync, openSync, type Stats } from 'node:fs';\nimport { rm } from 'node:fs/promises';\n",
      'src/layer/b.ts':
        "import { constants, writeSync } from 'node:fs';\nimport type { Stats } from 'node:fs';\n",
      'src/cli/c.ts': "import { openSync } from 'node:fs';\n",
    },
  );
  expect(said.filter((line) => line.includes('linux/files.ts'))).toEqual([
    'src/fs/a.ts:1: take openSync from linux/files.ts, for names that are no UTF-8',
    'src/fs/a.ts:2: take rm from linux/files.ts, for names that are no UTF-8',
  ]);
});

test('a bundle goes past the doors: an import of one name loads one file', () => {
  const door =
    "/** The door. */\nexport { a, type T } from './a.ts';\nexport { convert as c } from './deep/c.ts';\n";
  expect([...doorOf('/h/src/fs/index.ts', door).keys()]).toEqual(['a', 'T', 'c']);
  const { said } = check({ fs: [] }, { 'src/fs/index.ts': door });
  expect(said.some((line) => line.includes('a door holds nothing'))).toBe(false);
  const src = join(dir as string, 'src');
  const text =
    "import {\n  a as b,\n  c,\n  type T,\n} from '../fs/index.ts';\nimport type { T as U } from '../fs/index.ts';\nuse(b, c);\n";
  const led = straight(join(src, 'cli/x.ts'), text, new Map(), src);
  expect(led.split('\n')).toEqual([
    "import { a as b } from '../fs/a.ts'; import { convert as c } from '../fs/deep/c.ts';",
    ...['', '', '', ''],
    '',
    'use(b, c);',
    '',
  ]);
  // A room that is left whole keeps its door.
  expect(straight(join(src, 'cli/x.ts'), text, new Map(), src, ['fs'])).toBe(text);
  expect(straight(join(src, 'cli/x.ts'), text, new Map(), src, ['tar'])).toBe(led);
  expect(() => straightImports(src, ['fs', 'cellar'])).toThrow('no room cellar');
});
