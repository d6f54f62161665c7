/** Sources that must be signed: git's commits and tags, by OpenPGP or SSH, and files by OpenPGP. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { gitSource } from '../../src/source/git.ts';
import { tagParts } from '../../src/source/git-signature.ts';
import { httpSource } from '../../src/source/http.ts';
import { verifyPgp } from '../../src/source/signature.ts';
import { answerGit } from '../kit/git-server.ts';
import { startServer, type TestServer } from '../kit/http-server.ts';
import { runSource } from '../kit/run-op.ts';
import { treeOf } from '../kit/tree.ts';
import { Workshop } from '../kit/workshop.ts';

let dir: string;
let shop: Workshop;
let server: TestServer;
let served = '';
const keys = { alice: '', bob: '', old: '', gone: '', ssh: '' };
const past = '20200102T030405!';

const gpg = (args: string[], input = '') =>
  execFileSync('gpg', ['--homedir', join(dir, 'gpg'), '--batch', '--quiet', ...args], {
    input,
    stdio: ['pipe', 'pipe', 'ignore'],
  }).toString();
const sign = (user: string, text: string, ...args: string[]) =>
  gpg(['--armor', '--local-user', user, '--output', '-', ...args, '--detach-sign', '-'], text);
const git = (...args: string[]) =>
  execFileSync('git', ['-C', join(dir, 'repo'), ...args], {
    env: { ...process.env, GNUPGHOME: join(dir, 'gpg'), GIT_CONFIG_GLOBAL: '/dev/null' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-signed-'));
  shop = new Workshop();
  await shop.open();
  server = await startServer((request, response) => {
    if (request.url?.startsWith('/repo')) return answerGit(request, response, dir);
    response.setHeader('etag', `"${served.length}"`).end(served);
  });
  mkdirSync(join(dir, 'gpg'), { mode: 0o700 });
  const make = (user: string, ...args: string[]) =>
    gpg(['--passphrase', '', ...args, '--quick-gen-key', `${user} <${user}@x>`, 'ed25519', 'sign', '1d']);
  make('alice');
  make('bob');
  make('gone');
  make('old', '--faked-system-time', past);
  for (const user of ['alice', 'bob', 'old'] as const) keys[user] = gpg(['--armor', '--export', user]);
  const fingerprint = /^fpr:+(\w+):/m.exec(gpg(['--with-colons', '--list-keys', 'gone']))?.[1];
  served = 'the file';
  const revocation = readFileSync(join(dir, 'gpg/openpgp-revocs.d', `${fingerprint}.rev`), 'utf8');
  writeFileSync(join(dir, 'gone.asc'), sign('gone', served));
  gpg(['--import'], revocation.replace(/^:/m, ''));
  keys.gone = gpg(['--armor', '--export', 'gone']);
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'me@x', '-f', join(dir, 'ssh')]);
  keys.ssh = readFileSync(join(dir, 'ssh.pub'), 'utf8');

  mkdirSync(join(dir, 'repo'));
  git('init', '-q', '-b', 'main');
  git('config', 'user.name', 'alice');
  git('config', 'user.email', 'alice@x');
  git('config', 'uploadpack.allowAnySHA1InWant', 'true');
  const commit = (name: string, ...args: string[]) => {
    writeFileSync(join(dir, 'repo/which'), name);
    git('add', 'which');
    git(...args.slice(0, -1), 'commit', '-qm', name, ...args.slice(-1));
    git('branch', name);
  };
  commit('plain', '--no-gpg-sign');
  commit('pgp', '-SALICE');
  const ssh = ['-c', 'gpg.format=ssh', '-c', `user.signingKey=${join(dir, 'ssh')}`];
  git(...ssh, 'tag', '-s', '-m', 'release', 'v1');
  git('tag', '-a', '-m', 'no signature', 'v2');
  commit('ssh', ...ssh, '-S');
});
afterAll(async () => {
  execFileSync('gpgconf', ['--homedir', join(dir, 'gpg'), '--kill', 'all']);
  await server.stop();
  await shop.remove();
  rmSync(dir, { recursive: true, force: true });
});
const leftovers = () => readdirSync(shop.store.runDir).filter((name) => name.startsWith('sign'));

const repo = async (ref: string, key: string, attrs: Record<string, string> = {}) => {
  const all = { 'git.fullurl': `http://${server.host}/repo`, 'git.sig.pubkey': key, ...attrs };
  const { refs, release } = await runSource(shop, gitSource, `git://${server.host}/repo#${ref}`, all);
  const tree = treeOf(await shop.view(refs[0]));
  await release();
  return tree['/which'];
};

test('a commit is taken that one of the keys has signed', async () => {
  expect(await repo('pgp', keys.alice)).toBe('pgp');
  expect(await repo('pgp', `${keys.bob}\n${keys.alice}`, { 'git.sig.rejectexpired': 'true' })).toBe('pgp');
  expect(await repo('ssh', keys.ssh)).toBe('ssh');
  expect(await repo(git('rev-parse', 'pgp').toString().trim(), keys.alice)).toBe('pgp');
  await expect(repo('pgp', keys.bob)).rejects.toMatchObject({
    code: 'denied',
    message: 'failed to verify pgp signature: it is by none of the keys',
  });
  await expect(repo('plain', keys.alice)).rejects.toMatchObject({ message: 'git object is not signed' });
  await expect(repo('pgp', keys.ssh)).rejects.toMatchObject({
    message: expect.stringContaining('failed to read armored public key'),
  });
  await expect(repo('ssh', keys.alice)).rejects.toMatchObject({ message: 'failed to parse ssh public key' });
  const [type, , comment] = keys.ssh.split(' ');
  const other = `${type} AAAAC3NzaC1lZDI1NTE5AAAAIJtrDkyBxCu0Nb8DaQp3mPmGwbYkZ1YyXZB0RJbMP1bH ${comment}`;
  await expect(repo('ssh', other)).rejects.toMatchObject({ message: 'failed to verify ssh signature' });
  expect(leftovers()).toEqual([]);
});

test('a tag’s signature counts before its commit’s, unless the source says otherwise', async () => {
  const required = { 'git.sig.requiresignedtag': 'true' };
  expect(await repo('v1', keys.ssh, required)).toBe('pgp');
  expect(await repo('v1', keys.alice)).toBe('pgp');
  expect(await repo('v2', keys.alice)).toBe('pgp');
  await expect(repo('v1', keys.alice, required)).rejects.toMatchObject({
    message: 'failed to parse ssh public key',
  });
  await expect(repo('v2', keys.alice, required)).rejects.toMatchObject({
    message: 'git object is not signed',
  });
  await expect(repo('pgp', keys.alice, required)).rejects.toMatchObject({
    message: 'signed tag required but no signed tag found',
  });
  await expect(repo('v1', keys.ssh, { 'git.sig.ignoresignedtag': 'true' })).rejects.toMatchObject({
    message: expect.stringContaining('failed to read armored public key'),
  });
  await expect(repo('v1', '', required)).rejects.toMatchObject({ code: 'invalid', hop: 'llb' });
});

test('a commit with another’s signature, or with two, is refused', async () => {
  const signed = git('cat-file', 'commit', 'pgp').toString();
  const header = /^gpgsig (?:.*\n)(?: .*\n)*/m.exec(signed)![0];
  const put = (name: string, text: string) => {
    writeFileSync(join(dir, 'object'), text);
    const sha = git('hash-object', '-t', 'commit', '-w', '--literally', join(dir, 'object'))
      .toString()
      .trim();
    git('branch', name, sha);
  };
  put('forged', signed.replace('\n\npgp', '\n\nforged'));
  put('twice', signed.replace(header, header + header));
  await expect(repo('forged', keys.alice)).rejects.toMatchObject({
    message: 'failed to verify pgp signature: it is not of this',
  });
  await expect(repo('twice', keys.alice)).rejects.toMatchObject({ message: 'git object is not signed' });
  expect(tagParts(Buffer.from('object x\n\nno signature\n'))).toBeUndefined();
});

const file = async (signature: string, key: string, attrs: Record<string, string> = {}) => {
  const all = { 'http.sig.signature': signature, 'http.sig.pubkey': key, ...attrs };
  const { refs, release } = await runSource(shop, httpSource, `http://${server.host}/file`, all);
  const tree = treeOf(await shop.view(refs[0]));
  await release();
  return tree['/file'];
};

test('a file is taken that one of the keys has signed', async () => {
  const good = sign('alice', served);
  expect(await file(good, keys.alice)).toBe(served);
  expect(await file(good, `${keys.bob}\n${keys.alice}`)).toBe(served);
  await expect(file(good, keys.bob)).rejects.toMatchObject({
    code: 'denied',
    message: expect.stringContaining('failed to verify pgp signature'),
  });
  // Nor with a checksum, nor after it was fetched without a signature.
  await runSource(shop, httpSource, `http://${server.host}/file`, {});
  await expect(file(good, keys.bob, { 'http.checksum': digestOf(served) })).rejects.toMatchObject({
    code: 'denied',
  });
  await expect(file(sign('alice', 'another file'), keys.alice)).rejects.toMatchObject({
    message: 'failed to verify pgp signature: it is not of this',
  });
  // A whole signed message is no signature of the file, whatever it is called.
  const message = gpg(['--armor', '--local-user', 'alice', '--output', '-', '--sign', '-'], 'another file');
  await expect(file(message.replaceAll('PGP MESSAGE', 'PGP SIGNATURE'), keys.alice)).rejects.toMatchObject({
    code: 'denied',
  });
  await expect(file(good, '')).rejects.toMatchObject({
    message: 'http signature verification requires both pubkey and signature',
  });
  await expect(file('no signature', keys.alice)).rejects.toMatchObject({
    message: 'failed to decode armored signature',
  });
  expect(leftovers()).toEqual([]);
});

test('a key that was revoked, and a hash that is weak, are refused; an expired key where that is wished', async () => {
  await expect(file(readFileSync(join(dir, 'gone.asc'), 'utf8'), keys.gone)).rejects.toMatchObject({
    message: 'failed to verify pgp signature: the key was revoked',
  });
  const old = sign('old', served, '--faked-system-time', past);
  expect(await file(old, keys.old)).toBe(served);
  const path = join(dir, 'file');
  writeFileSync(path, served);
  const strict = { signature: old, keys: keys.old, rejectExpired: true };
  const place = { runDir: shop.store.runDir, signal: new AbortController().signal };
  await expect(verifyPgp(path, strict, place)).rejects.toMatchObject({
    message: 'failed to verify pgp signature: the key has expired',
  });
  const weak = sign('alice', served, '--digest-algo', 'SHA224');
  await expect(file(weak, keys.alice)).rejects.toMatchObject({
    message: expect.stringContaining('failed to verify pgp signature'),
  });
});
