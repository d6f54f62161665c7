/**
 * Texts that make a careless regular expression begin anew at each of their characters: a long run of one character that
 * something else ends. Strangers, clients, registries and git servers may send them; each is read in time linear in it.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { credentialsOf } from '../../src/api/docker/http/registry-auth.ts';
import { splitSans } from '../../src/auth/connection.ts';
import { parseAuthorization } from '../../src/auth/credential.ts';
import { stackDetail } from '../../src/engine/gateway/stack-detail.ts';
import { failureOf } from '../../src/executor/failure.ts';
import { parseChallenge } from '../../src/registry/auth.ts';
import { statusError } from '../../src/registry/errors.ts';
import { shown } from '../../src/source/http-fetch.ts';
import { verifyPgp, verifySsh } from '../../src/source/signature.ts';
import { ramInBytes } from '../../src/words/bytes.ts';
import { withoutEnd } from '../../src/words/ends.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { type Asker, mostHold, startAsker, usualHold } from '../kit/thread-time.ts';

let daemon: TestDaemon;
let asker: Asker;
let dir: string;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-runs-'));
  daemon = await startTestDaemon();
  asker = startAsker(daemon.socket);
});
afterAll(async () => {
  await asker.stop();
  await daemon.stop();
  rmSync(dir, { recursive: true, force: true });
});

const mebi = 1 << 20;
const run = (text: string, length = mebi) => text.repeat(Math.ceil(length / text.length));
const base64 = (text: string) => Buffer.from(text).toString('base64');

test.each<[string, string, Record<string, string>, number]>([
  ['a credential of blanks', '/info', { authorization: `a b${run('\t', 1_000_000)}c` }, 401],
  [
    'a password of NULs',
    '/distribution/localhost:1/a/json',
    {
      'x-registry-auth': base64(JSON.stringify({ auth: base64(`me:${run('\0', 500_000)}x`) })),
    },
    503,
  ],
])('%s, in a request', async (_, path, headers, status) => {
  let answered = 0;
  const hold = await usualHold(async () => {
    answered = (await asker.ask({ method: 'GET', path, headers })).status;
  });
  expect(answered).toBe(status);
  expect(hold).toBeLessThan(mostHold);
});

const purpose = { doing: 'pulling', host: 'r.example', repository: 'r.example/a', push: false };
const inBundle = (message: string) => {
  writeFileSync(join(dir, 'runtime.log'), `${JSON.stringify({ level: 'error', msg: message })}\n`);
  return dir;
};
const signed = (keys: string) => ({ keys, signature: '' });
const context = { runDir: '/nonexistent', signal: new AbortController().signal };

test.each<[string, () => unknown]>([
  ['an Authorization header', () => parseAuthorization(`Basic ${run('\t')}c`)],
  ["a registry's challenge of blanks", () => parseChallenge(`Bearer${run(' ')}!`)],
  ["a registry's challenge of words", () => parseChallenge(`Bearer ${run('a')}"`)],
  ["a registry's challenge of quotes", () => parseChallenge(`Bearer ${run('a="\\', 16 << 10)}`)],
  ["a registry's page that is an error", () => statusError(purpose, 500, run('<', 64 << 10), undefined)],
  ['a URL of question marks', () => shown(`http://a.example/${run('?')}`)],
  ['a path of slashes', () => withoutEnd(`${run('/')}x`, '/')],
  ['a password of NULs', () => credentialsOf({ auth: base64(`me:${run('\0')}x`) })],
  ['an amount of noughts', () => ramInBytes(`${run('0')}x`)],
  [
    'a program’s name',
    () => failureOf(inBundle(`exec: "${run('exec')}": permission denied`), 1, { asked: { ulimits: [] } }),
  ],
  ['the message of an error', () => stackDetail(new Error(`\n    at (${run(' (:')}`))],
  ['names of a certificate', () => splitSans(`:${run(' ')} "`)],
  [
    'PGP keys without ends',
    () => verifyPgp('f', signed(run('-----BEGIN PGP PUBLIC KEY BLOCK-----')), context),
  ],
  ['SSH keys', () => verifySsh('f', signed(run('==\r')), context)],
])('%s', async (_, read) => {
  const hold = await usualHold(async () => {
    try {
      await read();
    } catch {
      // That it is refused is another test's.
    }
  });
  expect(hold).toBeLessThan(mostHold);
});
