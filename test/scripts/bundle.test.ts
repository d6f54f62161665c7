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
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

const clone = join(import.meta.dirname, '../..');
let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-bundle-'));
  for (const name of ['src', 'scripts', 'bin', 'package.json'])
    cpSync(join(clone, name), join(dir, name), { recursive: true });
  writeFileSync(join(dir, 'Dockerfile.test'), 'FROM scratch\nLABEL a=b\n');
  symlinkSync(join(clone, 'node_modules'), join(dir, 'node_modules'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Makes a bundle of this version; answers with the names in dist. */
function bundle(version: string, ...args: string[]): string[] {
  const file = join(dir, 'src/version.ts');
  writeFileSync(file, readFileSync(file, 'utf8').replace(/(version = ')[^']*/, `$1${version}`));
  const { status, stderr } = spawnSync(process.execPath, [join(dir, 'scripts/bundle.mjs'), ...args]);
  expect([status, String(stderr)]).toEqual([0, '']);
  return readdirSync(join(dir, 'dist'));
}

const command = () => join(dir, 'bin/drydock');

test('a running daemon loads the rest of its code from the bundle that it began with', async () => {
  bundle('1.0.0');
  const socket = join(dir, 'd.sock');
  const args = ['daemon', '--root', join(dir, 'root'), '--host', `unix://${socket}`];
  const daemon = spawn(command(), args, { stdio: ['ignore', 'pipe', 'pipe'] });
  try {
    await new Promise<void>((ready) => {
      daemon.stderr.on('data', (text) => String(text).includes('is ready') && ready());
    });
    bundle('2.0.0');
    const { stdout } = spawnSync(command(), ['--version'], { encoding: 'utf8' });
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
  for (let i = 1; i <= 5; i++) mkdirSync(join(dir, `dist/bundle-older${i}`), { recursive: true });
  const bundles = (names: string[]) => names.filter((name) => name.startsWith('bundle-')).length;
  expect(bundles(bundle('3.0.0'))).toBe(4);
  expect(bundle('3.0.0', '--only').toSorted()).toEqual([
    expect.stringMatching(/^bundle-/),
    'drydock.cjs',
    'index.js',
  ]);
});
