/** Credentials from docker's config.json: plain entries, helpers, Docker Hub's key. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { dockerConfigCredentials } from '../../src/session/docker-config.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-config-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const hub = 'https://index.docker.io/v1/';
const b64 = (text: string) => Buffer.from(text).toString('base64');

function source(config: unknown) {
  writeFileSync(join(dir, 'config.json'), typeof config === 'string' ? config : JSON.stringify(config));
  return dockerConfigCredentials({ DOCKER_CONFIG: dir, PATH: `${dir}:${process.env.PATH}` });
}

function helper(name: string, script: string): void {
  const path = join(dir, `docker-credential-${name}`);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}

test('no file means no credentials', async () => {
  expect(await dockerConfigCredentials({ DOCKER_CONFIG: dir })('reg.example')).toBeUndefined();
});

test('auths: user and password, identity and registry tokens, old keys', async () => {
  const ask = source({
    auths: {
      'reg.example': { auth: b64('ann:pass:word') },
      'id.example': { auth: b64('ann:'), identitytoken: 'idt' },
      'token.example': { registrytoken: 'rt' },
      'https://old.example/v1/': { auth: b64('old:x') },
      [hub]: { auth: b64('hub:h') },
      'empty.example': {},
    },
  });
  expect(await ask('reg.example')).toEqual({ username: 'ann', password: 'pass:word' });
  expect(await ask('id.example')).toEqual({ username: 'ann', identityToken: 'idt' });
  expect(await ask('token.example')).toEqual({ registryToken: 'rt' });
  expect(await ask('old.example')).toEqual({ username: 'old', password: 'x' });
  expect(await ask(hub)).toEqual({ username: 'hub', password: 'h' });
  expect(await ask('empty.example')).toBeUndefined();
  expect(await ask('other.example')).toBeUndefined();
});

test('credHelpers go before credsStore; a helper is told the host and asked once', async () => {
  helper('one', `read -r host; echo "$host" >> ${dir}/asked; echo '{"Username":"u1","Secret":"s1"}'`);
  helper('all', `echo '{"Username":"<token>","Secret":"idt"}'`);
  const ask = source({ credsStore: 'all', credHelpers: { 'one.example': 'one' } });
  expect(await ask('one.example')).toEqual({ username: 'u1', password: 's1' });
  await ask('one.example');
  expect(await ask(hub)).toEqual({ identityToken: 'idt' });
  const { readFileSync } = await import('node:fs');
  expect(readFileSync(`${dir}/asked`, 'utf8').trim()).toBe('one.example');
});

test('a helper that knows nothing leaves it to auths', async () => {
  helper('none', `echo 'credentials not found in native keychain'; exit 1`);
  const ask = source({ credsStore: 'none', auths: { 'reg.example': { auth: b64('a:b') } } });
  expect(await ask('reg.example')).toEqual({ username: 'a', password: 'b' });
  expect(await ask('other.example')).toBeUndefined();
});

test('a helper that is missing or fails, and a broken file, are told as such', async () => {
  await expect(source({ credsStore: 'nowhere' })('x.example')).rejects.toMatchObject({
    code: 'unauthenticated',
    message: expect.stringContaining('docker-credential-nowhere'),
    hint: expect.stringContaining('credsStore'),
  });
  helper('angry', 'echo locked >&2; exit 2');
  await expect(source({ credsStore: 'angry' })('x.example')).rejects.toThrow(/locked/);
  await expect(source({ credsStore: '../evil' })('x.example')).rejects.toMatchObject({
    code: 'unauthenticated',
  });
  await expect(source('{')('x.example')).rejects.toMatchObject({ code: 'invalid', hop: 'client' });
});
