/** `drydock build --watch`. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { buildFlags } from '../../src/cli/build/flags.ts';
import type { BuildFlags } from '../../src/cli/build/prepare.ts';
import { parseFlags } from '../../src/cli/flags.ts';
import { watchedPlaces } from '../../src/cli/watch/places.ts';
import { refuseWatchFlags } from '../../src/cli/watch/run.ts';
import { watchFolder } from '../../src/cli/watch/watch-folder.ts';
import { Cli, outputOf } from '../kit/cli.ts';
import { startTestDaemon } from '../kit/daemon.ts';

const cli = new Cli();
afterAll(() => cli.close());

const flags = (...argv: string[]): BuildFlags => parseFlags(argv, buildFlags).flags;
const until = async (holds: () => boolean) => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 20));
};

test('a folder is watched with those that are made in it, and without what is ignored', async () => {
  const dir = cli.files('tree', { 'src/a': '', 'node_modules/x/y': '', 'keep/no': '', 'keep/yes': '' });
  const heard = new Set<string>();
  const stop = watchFolder(dir, {
    ignore: ['node_modules', 'keep', '!keep/yes'],
    changed: (path) => heard.add(path),
    failed: (err) => expect(err).toBeUndefined(),
  });
  writeFileSync(join(dir, 'node_modules/x/y'), '1');
  writeFileSync(join(dir, 'keep/no'), '1');
  writeFileSync(join(dir, 'keep/yes'), '1');
  mkdirSync(join(dir, 'src/new/deep'), { recursive: true });
  await until(() => heard.has('src/new'));
  writeFileSync(join(dir, 'src/new/deep/f'), '1');
  await until(() => heard.has('src/new/deep/f'));
  renameSync(join(dir, 'src/new'), join(dir, 'src/old'));
  await until(() => heard.has('src/old'));
  writeFileSync(join(dir, 'src/old/deep/g'), '1');
  await until(() => heard.has('src/old/deep/g'));
  rmSync(join(dir, 'src/old'), { recursive: true });
  writeFileSync(join(dir, 'src/a'), '2');
  await until(() => heard.has('src/a') && heard.has('keep/yes'));
  stop();
  expect([...heard].filter((path) => /node_modules|keep\/no/.test(path))).toEqual([]);
  expect(() => watchFolder(join(dir, 'none'), { ignore: [], changed() {}, failed() {} })).toThrow(
    'not there',
  );
});

test('the places of a build: context without its outputs, named contexts, a Dockerfile elsewhere', () => {
  const dir = cli.files('app', { '.dockerignore': 'tmp\n', 'c/x': '', 'd/File': '', 'e/x': '' });
  const at = (name: string) => join(dir, name);
  const given = flags(
    '-f',
    at('d/File'),
    '--build-context',
    `e=${at('e')}`,
    '-o',
    `type=local,dest=${at('c/out')}`,
  );
  const places = watchedPlaces(given, at('c'));
  expect(places).toEqual([
    { dir: at('c'), ignore: ['out', '.out.*.part', '!.dockerignore'] },
    { dir: at('e'), ignore: [] },
    { dir: at('d'), ignore: ['*', '!File', '!File.dockerignore'] },
  ]);
  expect(watchedPlaces(flags(), dir)[0]?.ignore).toEqual([
    'tmp',
    '!Dockerfile',
    '!Dockerfile.dockerignore',
    '!.dockerignore',
  ]);
});

test('what cannot be watched is refused', () => {
  expect(() => refuseWatchFlags(flags(), '-')).toThrow('not stdin');
  expect(() => refuseWatchFlags(flags(), 'https://example.org/a.git')).toThrow(
    'not https://example.org/a.git',
  );
  expect(() => refuseWatchFlags(flags('-f', '-'), '.')).toThrow('not stdin');
  expect(() => refuseWatchFlags(flags('--invoke'), '.')).toThrow('--invoke');
  expect(() => refuseWatchFlags(flags('-o', '-'), '.')).toThrow('stdout');
});

/** A command that watches in a folder, with what it has told. */
function watching(dir: string, args: readonly string[], env: Record<string, string> = {}) {
  const child = cli.start(args, { cwd: dir, env });
  const ended = outputOf(child);
  let told = '';
  child.stderr?.on('data', (text: string) => {
    told += text;
  });
  return {
    told: () => told,
    /** How often it has waited for changes. */
    waits: () => told.split('Watching for changes').length - 1,
    built(file: string) {
      try {
        return readFileSync(join(dir, file), 'utf8');
      } catch {
        return '';
      }
    },
    async end() {
      child.kill('SIGINT');
      expect((await ended).code).toBe(0);
    },
  };
}

test('a change builds again; a mistake is told and waited out; Ctrl-C ends it with 0', async () => {
  const dir = cli.files('watched', { Dockerfile: 'FROM scratch\nCOPY f /\n', f: '1' });
  const { told, waits, built, end } = watching(dir, [
    'build',
    '--watch',
    '--progress=plain',
    '-o',
    'out',
    '.',
  ]);
  await until(() => waits() === 1);
  expect(built('out/f')).toBe('1');
  writeFileSync(join(dir, 'f'), '2');
  await until(() => built('out/f') === '2' && waits() >= 2);
  writeFileSync(join(dir, 'Dockerfile'), 'FROM scratch\nNOPE\n');
  await until(() => told().includes('unknown instruction: NOPE'));
  writeFileSync(join(dir, 'Dockerfile'), 'FROM scratch\nCOPY f /g\n');
  await until(() => /Changed: Dockerfile[\s\S]*COPY f \/g/.test(told()));
  await end();
});

test('at a daemon: the changed files are sent again', async () => {
  const daemon = await startTestDaemon({ grpc: (host) => buildkitApi(host) });
  try {
    const dir = cli.files('there', { Dockerfile: 'FROM scratch\nCOPY f /\n', f: '1' });
    const args = ['build', '--watch', '--progress=plain', '-o', 'out', '.'];
    const { waits, built, end } = watching(dir, args, { DRYDOCK_HOST: daemon.host });
    await until(() => waits() === 1);
    expect(built('out/f')).toBe('1');
    writeFileSync(join(dir, 'f'), '2');
    await until(() => built('out/f') === '2' && waits() >= 2);
    await end();
  } finally {
    await daemon.stop();
  }
});

test('bake: what a target reads builds again, and so do the files of the definitions, but not what a target writes', async () => {
  const file = (name: string) =>
    JSON.stringify({
      group: { default: { targets: ['a', 'b'] } },
      target: Object.fromEntries(
        ['a', 'b'].map((each) => [each, { context: each, output: [`${name}/${each}`] }]),
      ),
    });
  const dockerfile = 'FROM scratch\nCOPY f /\n';
  const dir = cli.files('baked', {
    ...{ 'a/Dockerfile': dockerfile, 'a/f': 'a1', 'b/Dockerfile': dockerfile, 'b/f': 'b1' },
    // The outputs of both are in the context of one.
    'docker-bake.json': file('a/out'),
  });
  const { told, waits, built, end } = watching(dir, ['bake', '--watch', '--progress=plain']);
  await until(() => waits() === 1);
  expect([built('a/out/a/f'), built('a/out/b/f')]).toEqual(['a1', 'b1']);
  writeFileSync(join(dir, 'b/f'), 'b2');
  await until(() => built('a/out/b/f') === 'b2' && waits() === 2);
  writeFileSync(join(dir, 'docker-bake.json'), '{');
  await until(() => waits() === 3);
  expect(told()).toContain('docker-bake.json');
  writeFileSync(join(dir, 'docker-bake.json'), file('more'));
  await until(() => built('more/b/f') === 'b2' && waits() === 4);
  expect(told().match(/^Changed: .*/gm)).toEqual([
    'Changed: f',
    'Changed: docker-bake.json',
    'Changed: docker-bake.json',
  ]);
  await end();
  expect((await cli.run(['bake', '--watch', '--print'], { cwd: dir })).stderr).toContain(
    '--watch does not go with --print',
  );
});
