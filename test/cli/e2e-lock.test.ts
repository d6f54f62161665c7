/** `drydock lock` pins the sources of a build; later builds with the lock use just these, or are refused. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { Cli } from '../kit/cli.ts';
import { startTestDaemon } from '../kit/daemon.ts';
import { answerGit } from '../kit/git-server.ts';
import { startServer, type TestServer } from '../kit/http-server.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';

let cli: Cli;
let registry: TestRegistry;
let server: TestServer;
let file = 'one';
let base: string;
let dir: string;
const lock = () => join(cli.dir, 'lock.json');
const repo = () => join(cli.dir, 'repos/app.git');
const git = (...args: string[]) =>
  execFileSync('git', ['-c', 'safe.directory=*', '-c', 'user.name=a', '-c', 'user.email=a@b', ...args], {
    cwd: repo(),
    encoding: 'utf8',
  }).trim();

beforeAll(async () => {
  cli = new Cli();
  registry = await startRegistry();
  server = await startServer((request, response) => {
    if (request.url === '/file') response.end(file);
    else answerGit(request, response, join(cli.dir, 'repos'));
  });
  mkdirSync(repo(), { recursive: true });
  git('init', '-q', '-b', 'main');
  writeFileSync(join(repo(), 'g'), 'first');
  git('add', '.');
  git('commit', '-qm', 'first');
  base = `${registry.host}/base:1`;
  await pushBase('old');
  dir = cli.files('context', {
    Dockerfile: `FROM ${base}\nADD http://${server.host}/file /file\nADD http://${server.host}/app.git#main /app\nCOPY own /own\n`,
    own: 'own',
  });
});
afterAll(async () => {
  await server?.stop();
  await registry?.stop();
  cli?.close();
});

async function pushBase(text: string): Promise<void> {
  const files = cli.files(`base-${text}`, { Dockerfile: 'FROM scratch\nCOPY b /b\n', b: text });
  await cli.ok(['build', '-q', '--push', '-t', base, files]);
  await cli.ok(['rmi', base]);
}

/** Builds with the lock, on a root of its own: nothing is known there. */
let roots = 0;
const locked = (context = dir, more: string[] = [], env: Record<string, string> = {}) => {
  const out = join(cli.dir, `out${++roots}`);
  const args = ['build', '-q', '-o', `type=local,dest=${out}`, ...more, context];
  return {
    run: () => cli.run(args, { env: { DRYDOCK_ROOT: join(cli.dir, `root${roots}`), ...env } }),
    read: (path: string) => readFileSync(join(out, path), 'utf8'),
  };
};
const withLock = () => ['--source-policy', lock()];

test('it names each source with what it was, allows the client’s folders, and denies all else', async () => {
  const { stderr } = await cli.ok(['lock', '--lock-file', lock(), dir]);
  expect(stderr).toContain('Wrote ');
  const { rules } = JSON.parse(readFileSync(lock(), 'utf8'));
  const digest = 'sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed';
  const rule = (action: string, identifier: string) =>
    rules.find(
      (each: { action: string; selector: { identifier: string } }) =>
        each.action === action && each.selector.identifier === identifier,
    );
  expect(rules[0]).toEqual({ action: 'DENY', selector: { identifier: '*', match_type: 'WILDCARD' } });
  expect(rule('ALLOW', 'local://*')).toBeDefined();
  expect(rule('CONVERT', `docker-image://${base}`).updates.identifier).toMatch(/:1@sha256:\w{64}$/);
  expect(rule('CONVERT', `http://${server.host}/file`).updates.attrs).toEqual({ 'http.checksum': digest });
  expect(rule('CONVERT', `git://${server.host}/app.git#main`).updates.attrs).toEqual({
    'git.checksum': git('rev-parse', 'HEAD'),
  });
});

test('a build with it has the same sources, by the flag or by the variable of buildx', async () => {
  for (const build of [
    locked(dir, withLock()),
    locked(dir, [], { EXPERIMENTAL_BUILDKIT_SOURCE_POLICY: lock() }),
  ]) {
    expect(await build.run()).toMatchObject({ code: 0 });
    expect([build.read('b'), build.read('file'), build.read('app/g')]).toEqual(['old', 'one', 'first']);
  }
});

test('a daemon obeys it as well', async () => {
  const daemon = await startTestDaemon({ grpc: (host) => buildkitApi(host) });
  try {
    const other = cli.files('other', { Dockerfile: `FROM scratch\nADD http://${server.host}/other /x\n` });
    const env = { DRYDOCK_HOST: daemon.host };
    const build = locked(dir, withLock(), env);
    expect(await build.run()).toMatchObject({ code: 0 });
    expect(build.read('b')).toBe('old');
    const { code, stderr } = await locked(other, withLock(), env).run();
    expect([code, stderr]).toEqual([1, expect.stringContaining('denied by policy')]);
    const lockThere = await cli.run(['lock', dir], { env });
    expect([lockThere.code, lockThere.stderr]).toEqual([
      1,
      expect.stringContaining('works without a daemon alone'),
    ]);
  } finally {
    await daemon.stop();
  }
});

test('an image whose tag moved is taken as it was; a source that is not in it is denied', async () => {
  await pushBase('new');
  const build = locked(dir, withLock());
  expect(await build.run()).toMatchObject({ code: 0 });
  expect(build.read('b')).toBe('old');
  const more = cli.files('more', { Dockerfile: `FROM ${base}\nADD http://${server.host}/other /x\n` });
  const { code, stderr } = await locked(more, withLock()).run();
  expect([code, stderr]).toEqual([
    1,
    expect.stringContaining(`source "http://${server.host}/other" denied by policy`),
  ]);
});

test('a file or a branch that moved is refused', async () => {
  file = 'two';
  const moved = await locked(dir, withLock()).run();
  expect([moved.code, moved.stderr]).toEqual([1, expect.stringMatching(/\/file.*(checksum|digest)/s)]);
  file = 'one';
  writeFileSync(join(repo(), 'g'), 'second');
  git('commit', '-qam', 'second');
  const branch = await locked(dir, withLock()).run();
  expect([branch.code, branch.stderr]).toEqual([1, expect.stringMatching(/expected checksum to match/)]);
});

test('a checksum written by hand may be by a longer algorithm, and must be what the file has', async () => {
  const sha512 = (text: string) => `sha512:${createHash('sha512').update(text).digest('hex')}`;
  const edited = join(cli.dir, 'longer.json');
  const source = `http://${server.host}/file`;
  const dir = cli.files('longer', { Dockerfile: `FROM scratch\nADD ${source} /file\n` });
  const withSum = (sum: string) => {
    const selector = { identifier: source };
    const updates = { attrs: { 'http.checksum': sum } };
    writeFileSync(edited, JSON.stringify({ rules: [{ action: 'CONVERT', selector, updates }] }));
    return locked(dir, ['--source-policy', edited]);
  };
  expect(await withSum(sha512('one')).run()).toMatchObject({ code: 0 });
  const wrong = await withSum(sha512('two')).run();
  const both = `digest mismatch ${sha512('one')}: ${sha512('two')}`;
  expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining(both)]);
  const cut = await withSum('sha512:12').run();
  expect([cut.code, cut.stderr]).toEqual([1, expect.stringContaining('invalid digest "sha512:12"')]);
  const mine = cli.files('mine-longer', {
    Dockerfile: `FROM scratch\nADD --checksum=${sha512('one')} ${source} /file\n`,
  });
  await cli.ok(['lock', '-q', '--lock-file', edited, mine]);
  expect(JSON.parse(readFileSync(edited, 'utf8')).rules).toHaveLength(3);
  expect(await locked(mine, ['--source-policy', edited]).run()).toMatchObject({ code: 0 });
});

test('an image that only this store has is held to what it was', async () => {
  await cli.ok([
    'build',
    '-q',
    '-t',
    'mine',
    cli.files('mine1', { Dockerfile: 'FROM scratch\nCOPY b /b\n', b: '1' }),
  ]);
  const dir = cli.files('on-mine', { Dockerfile: 'FROM mine\nCOPY Dockerfile /\n' });
  await cli.ok(['lock', '-q', '--lock-file', lock(), dir]);
  const build = ['build', '-q', '--source-policy', lock(), dir];
  await cli.ok(build);
  await cli.ok([
    'build',
    '-q',
    '-t',
    'mine',
    cli.files('mine2', { Dockerfile: 'FROM scratch\nCOPY b /b\n', b: '2' }),
  ]);
  const { code, stderr } = await cli.run(build);
  expect([code, stderr]).toEqual([1, expect.stringContaining('does not match expected checksum')]);
});

test.each([
  ['{', 'the source policy is no JSON'],
  ['{"rules": {}}', 'lock.json: rules: want a list'],
  [
    '{"rules": [{"action": "PERMIT", "selector": {"identifier": "*"}}]}',
    'rules[0].action: want ALLOW, DENY, CONVERT',
  ],
  [
    '{"rules": [{"selector": {"identifer": "*"}}]}',
    'rules[0].selector: there is no "identifer" (did you mean "identifier"?)',
  ],
  [
    '{"rules": [{"action": "CONVERT", "selector": {"identifier": "*"}}]}',
    'missing destination for convert rule',
  ],
])('edited by hand: %s', async (text, message) => {
  const file = join(cli.dir, 'edited', 'lock.json');
  mkdirSync(join(cli.dir, 'edited'), { recursive: true });
  writeFileSync(file, text);
  const { code, stderr } = await locked(dir, ['--source-policy', file]).run();
  expect([code, stderr]).toEqual([1, expect.stringContaining(message)]);
});

test('what keeps no result has no output, and a password is not written down', async () => {
  const tagged = await cli.run(['lock', '-t', 'x', dir]);
  expect([tagged.code, tagged.stderr]).toEqual([1, expect.stringContaining('drydock lock has no --tag')]);
  const secret = cli.files('secret', {
    Dockerfile: `FROM scratch\nADD http://me:hunter22@${server.host}/file /x\n`,
  });
  const refused = await cli.run(['lock', '--lock-file', join(cli.dir, 'never.json'), secret]);
  expect([refused.code, refused.stderr]).toEqual([
    1,
    expect.stringContaining('with a password in it cannot be locked'),
  ]);
  expect(refused.stderr.slice(refused.stderr.indexOf('ERROR'))).not.toContain('hunter22');
  const missing = await cli.run(['build', '--source-policy', 'none.json', dir]);
  expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining('none.json cannot be read')]);
});
