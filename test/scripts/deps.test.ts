/** `npm run lint` checks with scripts/deps.mjs that imports go one way. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'drydock-deps-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function check(files: Record<string, string>): { status: number | null; said: string } {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  const script = join(import.meta.dirname, '../../scripts/deps.mjs');
  const { status, stderr } = spawnSync(process.execPath, [script, root], { encoding: 'utf8' });
  return { status, said: stderr };
}

test('downward imports are fine', () => {
  const { status, said } = check({
    'cli/main.ts': "import { run } from '../engine/run.ts';",
    'engine/run.ts': "import { a } from '../ops/a.ts';\nimport { fail } from '../errors/error.ts';",
    'ops/a.ts': "import { b } from '../fs/b.ts';",
    'fs/b.ts': '',
    'errors/error.ts': "// import { a } from '../cli/main.ts';\n/* import '../cli/main.ts' */",
  });
  expect(said).toBe('');
  expect(status).toBe(0);
});

test('an upward import is named with its file and line, lazy or not', () => {
  const { status, said } = check({
    'fs/a.ts': "\nimport { x } from '../solver/x.ts';\nconst y = () => import('../engine/y.ts');",
    'fs/b.ts': "import { x } from '../store/store.ts';\nimport type { z } from '../store/z.ts';",
    'solver/c.ts': "import {\n  a,\n  type B,\n} from '../frontend/a.ts';",
    'engine/d.ts': "export * from '../cli/d.ts';",
    'odd/e.ts': "import '../fs/a.ts';",
    'tasks.ts': "import { x } from './cli/x.ts';",
    'workers/f.ts': "import type { Tasks } from '../tasks.ts';\nimport { version } from '../version.ts';",
  });
  expect(status).toBe(1);
  expect(said.split('\n')).toEqual([
    'src/engine/d.ts:1: engine must not import cli (../cli/d.ts)',
    'src/fs/a.ts:2: fs must not import solver (../solver/x.ts)',
    'src/fs/a.ts:3: fs must not import engine (../engine/y.ts)',
    'src/fs/b.ts:1: fs must not import store (../store/store.ts)',
    'src/fs/b.ts:2: fs must not import store (../store/z.ts), not even types',
    'src/odd/e.ts:1: the room odd is not in scripts/deps.mjs',
    'src/solver/c.ts:1: solver must not import frontend (../frontend/a.ts)',
    'src/workers/f.ts:1: workers must not import the top of src (../tasks.ts)',
    '8 imports go the wrong way',
    '',
  ]);
});

test('files that import each other are a circle; types and lazy imports are not', () => {
  const { status, said } = check({
    'fs/a.ts': "import { b } from './b.ts';",
    'fs/b.ts': "import { c } from './c.ts';",
    'fs/c.ts': "import { a } from './a.ts';",
    'tar/a.ts': "import type { b } from './b.ts';",
    'tar/b.ts': "import { a } from './a.ts';\nexport const lazy = () => import('./a.ts');",
  });
  expect(status).toBe(1);
  expect(said).toContain('src/fs/a.ts:1: files import each other in a circle: fs/a.ts, fs/b.ts, fs/c.ts');
  expect(said).not.toContain('tar/');
});

test('files of trees are not reached by Node’s own functions on paths', () => {
  const { said } = check({
    'fs/a.ts':
      "import { closeSync, openSync, type Stats } from 'node:fs';\nimport { rm } from 'node:fs/promises';",
    'layer/b.ts': "import { constants, writeSync } from 'node:fs';\nimport type { Stats } from 'node:fs';",
    'cli/c.ts': "import { openSync } from 'node:fs';",
  });
  expect(said.split('\n').slice(0, 2)).toEqual([
    'src/fs/a.ts:1: take openSync from linux/files.ts, for names that are no UTF-8',
    'src/fs/a.ts:2: take rm from linux/files.ts, for names that are no UTF-8',
  ]);
  expect(said).toContain('2 imports go the wrong way');
});
