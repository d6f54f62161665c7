/** A bundle that is made under a running program: the program goes on with its own, the next start has the new one. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';

const clone = join(import.meta.dirname, '../..');
const made: string[] = [];
afterAll(() => {
  for (const dir of made) rmSync(dir, { recursive: true, force: true });
});

/** A clone with these parts of this one. */
function cloneWith(...parts: string[]): string {
  const dir = mkdtempSync(join(tmpdir(), 'drydock-bundle-'));
  made.push(dir);
  for (const name of ['scripts', 'package.json', 'tsconfig.json', 'ui', ...parts])
    cpSync(join(clone, name), join(dir, name), { recursive: true });
  symlinkSync(join(clone, 'node_modules'), join(dir, 'node_modules'));
  return dir;
}

/** Makes a bundle of this version; answers with the names in dist. */
function bundle(dir: string, version: string, ...args: string[]): string[] {
  const file = join(dir, 'src/version.ts');
  writeFileSync(file, readFileSync(file, 'utf8').replace(/(version = ')[^']*/, `$1${version}`));
  const { status, stderr } = spawnSync(process.execPath, [join(dir, 'scripts/bundle.mjs'), ...args]);
  expect([status, String(stderr)]).toEqual([0, '']);
  return readdirSync(join(dir, 'dist'));
}

test('a running daemon loads the rest of its code from the bundle that it began with', async () => {
  const dir = cloneWith('src', 'bin');
  writeFileSync(join(dir, 'Dockerfile.test'), 'FROM scratch\nLABEL a=b\n');
  const command = join(dir, 'bin/drydock');
  bundle(dir, '1.0.0');
  const socket = join(dir, 'd.sock');
  const args = ['daemon', '--root', join(dir, 'root'), '--host', `unix://${socket}`];
  const daemon = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  try {
    await new Promise<void>((ready) => {
      daemon.stderr.on('data', (text) => String(text).includes('is ready') && ready());
    });
    bundle(dir, '2.0.0');
    const { stdout } = spawnSync(command, ['--version'], { encoding: 'utf8' });
    expect(stdout).toBe('drydock 2.0.0\n');
    // Nothing of a build was loaded until here.
    const curl = ['-sS', '--unix-socket', socket, '-X', 'POST', '--data-binary', '@-', 'http://d/build'];
    const tar = spawnSync('tar', [
      '-c',
      '-C',
      dir,
      '--transform',
      's/.*/Dockerfile/',
      'Dockerfile.test',
    ]).stdout;
    const answer = spawnSync('curl', [...curl, '-H', 'Content-Type: application/x-tar'], { input: tar });
    expect(String(answer.stdout)).toContain('Successfully built');
  } finally {
    daemon.kill();
    await once(daemon, 'exit');
  }
});

test('three bundles are kept beside the newest, none for a package', () => {
  const dir = cloneWith('src/progress/canceled.ts');
  // Rooms with nothing in them: what is kept does not hang on what is in a bundle.
  for (const { name } of readdirSync(join(clone, 'src'), { withFileTypes: true }).filter((e) =>
    e.isDirectory(),
  )) {
    mkdirSync(join(dir, 'src', name), { recursive: true });
    writeFileSync(join(dir, 'src', name, 'index.ts'), '');
  }
  writeFileSync(join(dir, 'src/version.ts'), "export const version = '';\n");
  for (const [name, at] of [
    ['index', '.'],
    ['worker', '.'],
    ['cli/bin', '..'],
    ['cli/start', '..'],
    ['cli/start-thread', '..'],
  ])
    writeFileSync(join(dir, `src/${name}.ts`), `export { version } from '${at}/version.ts';\n`);
  for (let i = 1; i <= 5; i++) mkdirSync(join(dir, `dist/bundle-older${i}`), { recursive: true });
  const bundles = (names: string[]) => names.filter((name) => name.startsWith('bundle-')).length;
  expect(bundles(bundle(dir, '3.0.0'))).toBe(4);
  // A source that is written while a bundle is made is newer than it.
  const age = (name: string) => statSync(join(dir, 'dist', name)).mtimeMs;
  expect(age('drydock.cjs')).toBeLessThan(age('index.js'));
  expect(bundle(dir, '3.0.0', '--only').toSorted()).toEqual([
    expect.stringMatching(/^bundle-/),
    'drydock.cjs',
    'index.js',
  ]);
});
