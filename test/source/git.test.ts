/** Building from a git repository: refs, folders, submodules, what stays secret, what is refused. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { gitSource } from '../../src/source/git.ts';
import { makeByteTree } from '../kit/byte-tree.ts';
import { answerGit } from '../kit/git-server.ts';
import { runSource } from '../kit/run-op.ts';
import { treeOf } from '../kit/tree.ts';
import { Workshop } from '../kit/workshop.ts';

let shop: Workshop;
let dir: string;
let repo: string;
let first: string;
let head: string;
let server: Server;
let base: string;
/** Authorization headers the server saw. */
const seen: (string | undefined)[] = [];
const secret = 'ghp_verysecret';

function git(cwd: string, ...args: string[]): string {
  const env = {
    PATH: process.env.PATH,
    HOME: dir,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_AUTHOR_NAME: 'a',
    GIT_AUTHOR_EMAIL: 'a@b',
    GIT_COMMITTER_NAME: 'a',
    GIT_COMMITTER_EMAIL: 'a@b',
    GIT_COMMITTER_DATE: '2024-01-02T03:04:05Z',
  };
  const config = ['-c', 'init.defaultBranch=main', '-c', 'protocol.file.allow=always'];
  return execFileSync('git', [...config, ...args], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    .toString()
    .trim();
}

beforeAll(async () => {
  process.env.DRYDOCK_GIT_ALLOW_FILE = '1';
  shop = new Workshop();
  await shop.open();
  dir = mkdtempSync(join(tmpdir(), 'drydock-git-'));
  repo = join(dir, 'app.git');
  const lib = join(dir, 'lib.git');
  for (const path of [repo, lib]) {
    mkdirSync(path);
    git(path, 'init', '-q');
  }
  writeFileSync(join(lib, 'lib.c'), 'lib');
  git(lib, 'add', '.');
  git(lib, 'commit', '-qm', 'lib');
  writeFileSync(join(repo, 'Dockerfile'), 'FROM scratch\n');
  mkdirSync(join(repo, 'sub'));
  writeFileSync(join(repo, 'sub', 'main.c'), 'one');
  writeFileSync(join(repo, 'run.sh'), '#!/bin/sh\n', { mode: 0o755 });
  git(repo, 'add', '.');
  git(repo, 'commit', '-qm', 'one');
  first = git(repo, 'rev-parse', 'HEAD');
  git(repo, 'tag', '-am', 'v1', 'v1');
  writeFileSync(join(repo, 'sub', 'main.c'), 'two');
  git(repo, 'commit', '-qam', 'two');
  head = git(repo, 'rev-parse', 'HEAD');
  git(repo, 'checkout', '-qb', 'modules');
  git(repo, 'submodule', '--quiet', 'add', `file://${lib}`, 'lib');
  git(repo, 'commit', '-qm', 'modules');
  git(repo, 'checkout', '-q', 'main');
  // A real smart http server: git's own CGI, behind a check of the credentials.
  server = createServer((req, res) => {
    seen.push(req.headers.authorization);
    const wanted = `basic ${Buffer.from(`x-access-token:${secret}`).toString('base64')}`;
    if (req.url?.startsWith('/private/') && req.headers.authorization !== wanted) {
      res.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      return;
    }
    const { pathname } = new URL(req.url ?? '/', 'http://x');
    answerGit(req, res, dir, pathname.replace(/^\/private/, ''));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  delete process.env.DRYDOCK_GIT_ALLOW_FILE;
  server.close();
  await shop.remove();
  rmSync(dir, { recursive: true, force: true });
});

const local = () => ({ 'git.fullurl': `file://${repo}` });
const run = (id: string, attrs: Record<string, string> = local(), options = {}) =>
  runSource(shop, gitSource, id, attrs, options);

test('the default branch, without git’s own files, the modes kept', async () => {
  const { refs } = await run('git://host/app.git');
  const view = await shop.view(refs[0]);
  expect(treeOf(view)).toEqual({
    '/Dockerfile': 'FROM scratch\n',
    '/run.sh': '#!/bin/sh\n',
    '/sub': '/',
    '/sub/main.c': 'two',
  });
  expect(view.lstat('/run.sh')?.mode).toBe(0o755);
  expect(view.lstat('/Dockerfile')).toMatchObject({ mode: 0o644, uid: 0, gid: 0 });
});

test('branch, tag, full ref and commit name a commit, and the commit is the cache key', async () => {
  const key = async (ref: string) =>
    (await run(`git://host/app.git#${ref}`, local(), { mapOnly: true })).map.digest;
  expect(await key('main')).toBe(await key(head));
  expect(await key('refs/heads/main')).toBe(await key(head));
  expect(await key('v1')).toBe(await key(first));
  expect(await key('v1')).not.toBe(await key('main'));
  const { refs } = await run('git://host/app.git#v1');
  expect(treeOf(await shop.view(refs[0]))['/sub/main.c']).toBe('one');
  const byCommit = await run(`git://host/app.git#${first}`);
  expect(treeOf(await shop.view(byCommit.refs[0]))['/sub/main.c']).toBe('one');
});

test('a folder of the repository', async () => {
  const { refs } = await run('git://host/app.git#main:sub');
  expect(treeOf(await shop.view(refs[0]))).toEqual({ '/main.c': 'two' });
  await expect(run('git://host/app.git#main:none')).rejects.toMatchObject({ code: 'not-found', hop: 'git' });
  await expect(run('git://host/app.git#main:../..')).rejects.toMatchObject({ code: 'invalid', hop: 'git' });
});

test('names that are no UTF-8 stay the bytes they are, a folder to build from too', async () => {
  const raw = join(dir, 'bytes.git');
  mkdirSync(raw);
  git(raw, 'init', '-q');
  makeByteTree(raw, ['d\xe9', 'l\xe9', 't\xe8', 'caf\xe9', 'caf\xe8', 'last']);
  git(raw, 'add', '-A');
  git(raw, 'commit', '-qm', 'bytes');
  const pathsOf = async (fragment: string) => {
    const { refs } = await run(`git://host/bytes.git${fragment}`, { 'git.fullurl': `file://${raw}` });
    return Object.keys(treeOf(await shop.view(refs[0])));
  };
  expect(await pathsOf('')).toEqual(
    expect.arrayContaining(['/caf\udce8', '/caf\udce9', '/d\udce9/caf\udce9', '/l\udce9']),
  );
  expect(await pathsOf('#main:d\udce9')).toContain('/caf\udce9');
});

test('submodules come along, unless they are to be left out', async () => {
  const { refs } = await run('git://host/app.git#modules');
  const tree = treeOf(await shop.view(refs[0]));
  expect(tree).toMatchObject({ '/lib/lib.c': 'lib' });
  expect(Object.keys(tree).filter((path) => path.endsWith('/.git'))).toEqual([]);
  const without = await run('git://host/app.git#modules', { ...local(), 'git.skipsubmodules': 'true' });
  expect(treeOf(await shop.view(without.refs[0]))).not.toHaveProperty('/lib/lib.c');
});

test('keepgitdir gives a repository that git can work with', async () => {
  const { refs } = await run('git://host/app.git#main', { ...local(), 'git.keepgitdir': 'true' });
  const view = await shop.view(refs[0]);
  const at = view.lstat('/.git')!.hostPath.replace(/\/\.git$/, '');
  const safe = ['-c', 'safe.directory=*'];
  expect(git(at, ...safe, 'rev-parse', 'HEAD', 'main', 'origin/main')).toBe(`${head}\n${head}\n${head}`);
  expect(git(at, ...safe, 'status', '--porcelain')).toBe('');
  expect(git(at, ...safe, 'remote', 'get-url', 'origin')).toBe(`file://${repo}`);
});

test('times are those of the commit when asked for', async () => {
  const { refs } = await run('git://host/app.git#main', { ...local(), 'git.mtime': 'commit' });
  const entry = (await shop.view(refs[0])).lstat('/Dockerfile');
  expect(entry?.mtimeNs).toBe(BigInt(Date.parse('2024-01-02T03:04:05Z')) * 1_000_000n);
});

test('a checksum must be met', async () => {
  const at = (checksum: string) => run('git://host/app.git#v1', { ...local(), 'git.checksum': checksum });
  await at(first.slice(0, 12));
  const tag = git(repo, 'rev-parse', 'v1');
  await at(tag);
  await at(tag.slice(0, 12).toUpperCase());
  await expect(at(head)).rejects.toThrow(`expected checksum to match ${head}, got ${first} or ${tag}`);
  await expect(at('main')).rejects.toThrow('invalid checksum main for Git URL, expected hex commit hash');
});

test('a server of plain files: no shallow fetches, with submodules, and repositories of SHA-256', async () => {
  const served = join(dir, 'plain');
  const files = createServer((req, res) => {
    const path = join(served, new URL(req.url ?? '', 'http://x').pathname);
    if (statSync(path, { throwIfNoEntry: false })?.isFile()) res.end(readFileSync(path));
    else res.writeHead(404).end();
  });
  await new Promise<void>((resolve) => files.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(files.address() as AddressInfo).port}`;
  try {
    for (const format of ['sha1', 'sha256']) {
      const at = join(dir, `plain-${format}`);
      for (const name of ['lib', 'app']) {
        mkdirSync(join(at, name), { recursive: true });
        git(join(at, name), 'init', '-q', `--object-format=${format}`);
        writeFileSync(join(at, name, 'file'), `${name} ${format}`);
        git(join(at, name), 'add', '.');
      }
      const bare = (name: string) => {
        const to = join(served, format, `${name}.git`);
        git(join(at, name), 'commit', '-qm', 'one');
        git(at, 'clone', '-q', '--bare', name, to);
        git(to, 'update-server-info');
      };
      bare('lib');
      // Added by hand: git's own command would run the server's process, which waits for it.
      const sub = ['[submodule "lib"]', 'path = lib', `url = ${url}/${format}/lib.git`];
      writeFileSync(join(at, 'app/.gitmodules'), `${sub.join('\n\t')}\n`);
      const commit = git(join(at, 'lib'), 'rev-parse', 'HEAD');
      git(join(at, 'app'), 'update-index', '--add', '--cacheinfo', `160000,${commit},lib`);
      git(join(at, 'app'), 'add', '.gitmodules');
      bare('app');
      const fullurl = `${url}/${format}/app.git`;
      const { refs } = await run('git://host/app.git', { 'git.fullurl': fullurl });
      const tree = treeOf(await shop.view(refs[0]));
      expect(tree).toMatchObject({ '/file': `app ${format}`, '/lib/file': `lib ${format}` });
      const head = git(join(at, 'app'), 'rev-parse', 'HEAD');
      expect(head).toHaveLength(format === 'sha1' ? 40 : 64);
      await run(`git://host/app.git#${head}`, { 'git.fullurl': fullurl, 'git.checksum': head });
    }
  } finally {
    files.close();
  }
});

test('a ref that is not there is named, with what to do', async () => {
  await expect(run('git://host/app.git#nope')).rejects.toMatchObject({
    code: 'not-found',
    message: expect.stringContaining('repository does not contain ref nope'),
    hint: expect.any(String),
  });
  await expect(run(`git://host/app.git#${'0'.repeat(40)}`)).rejects.toMatchObject({ code: 'not-found' });
});

test('a commit is fetched once: the second time the server is not asked', async () => {
  const attrs = { 'git.fullurl': `${base}/app.git/.git` };
  await run(`git://host/app.git#${head}`, attrs);
  const asked = seen.length;
  expect(asked).toBeGreaterThan(0);
  const { refs } = await run(`git://host/app.git#${head}`, attrs);
  expect(seen.length).toBe(asked);
  expect(treeOf(await shop.view(refs[0]))['/sub/main.c']).toBe('two');
});

test('a token secret opens a private repository, and is shown nowhere', async () => {
  const attrs = { 'git.fullurl': `${base}/private/app.git/.git`, 'git.authtokensecret': 'GIT_AUTH_TOKEN' };
  const withSecret = (value: string) => ({
    session: { secret: async (id: string) => (id === 'GIT_AUTH_TOKEN' ? Buffer.from(value) : undefined) },
  });
  const { refs, log } = await run('git://host/app.git#main', attrs, withSecret(secret));
  expect(treeOf(await shop.view(refs[0]))).toHaveProperty('/Dockerfile');
  expect(log).not.toContain(secret);
  await expect(run('git://host/app.git#v1', attrs, withSecret('wrong-token'))).rejects.toMatchObject({
    code: 'unauthenticated',
    message: expect.not.stringContaining('wrong-token'),
    hint: expect.stringContaining('GIT_AUTH_TOKEN'),
  });
});

test('a password in the URL is used, but not repeated in errors', async () => {
  const attrs = (user: string) => ({
    'git.fullurl': base.replace('//', `//${user}@`).concat('/private/app.git/.git'),
  });
  await run('git://host/app.git', attrs(`x-access-token:${secret}`));
  const failed = await run('git://host/app.git', attrs('me:hunter2')).catch((err: Error) => err);
  expect(failed).toBeInstanceOf(Error);
  expect(JSON.stringify([failed, (failed as Error).message])).not.toContain('hunter2');
});

test('local files are no remote for a client of a daemon', async () => {
  delete process.env.DRYDOCK_GIT_ALLOW_FILE;
  try {
    await expect(run('git://host/app.git')).rejects.toMatchObject({ code: 'denied', hop: 'git' });
  } finally {
    process.env.DRYDOCK_GIT_ALLOW_FILE = '1';
  }
});

test('a server that cannot be reached is said to be so', async () => {
  await expect(
    run('git://host/app.git', { 'git.fullurl': 'http://127.0.0.1:1/x.git' }),
  ).rejects.toMatchObject({
    code: 'unavailable',
    hop: 'git',
    message: expect.stringContaining('127.0.0.1:1'),
  });
});

test('an abort ends git at once and leaves nothing behind', async () => {
  const hanging = createServer(() => {});
  await new Promise<void>((resolve) => hanging.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(hanging.address() as AddressInfo).port}/x.git`;
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 200);
  await expect(run('git://host/x', { 'git.fullurl': url }, { signal: stop.signal })).rejects.toMatchObject({
    code: 'canceled',
  });
  expect(readdirSync(shop.store.runDir).filter((name) => name.startsWith('git-'))).toEqual([]);
  hanging.closeAllConnections();
  hanging.close();
});

test('two builds fetch one remote at the same time, through one mirror', async () => {
  const attrs = { 'git.fullurl': `${base}/app.git/.git?` };
  const results = await Promise.all([run('git://host/a#main', attrs), run('git://host/a#v1', attrs)]);
  const texts = await Promise.all(
    results.map(async ({ refs }) => treeOf(await shop.view(refs[0]))['/sub/main.c']),
  );
  expect(texts).toEqual(['two', 'one']);
  expect(existsSync(join(shop.store.root, 'git'))).toBe(true);
});
