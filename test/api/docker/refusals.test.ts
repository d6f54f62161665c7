/** What a policy's refusals say: who, what, where it was refused and which line would allow it; over both APIs. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TestDaemon } from '../../kit/daemon.ts';
import { tarOf } from '../../kit/images.ts';
import { ControlKit, failure } from '../buildkit/control-kit.ts';

let kit: ControlKit;
let daemon: TestDaemon;
const dir = mkdtempSync(join(tmpdir(), 'drydock-refusals-'));
const policyFile = join(dir, 'policy.json');
const allow = (...scopes: string[]) => {
  writeFileSync(policyFile, JSON.stringify({ rules: [{ match: { uid: 0 }, scopes }] }), { mode: 0o640 });
  daemon?.reload();
};
beforeAll(async () => {
  allow('*');
  kit = await ControlKit.start({ imageStore: 'local', policyFile });
  daemon = kit.daemon;
});
afterAll(async () => {
  await daemon.stop();
  rmSync(dir, { recursive: true });
});

const message = async (method: string, path: string, status: number) => {
  const answer = await daemon.ask(method, path);
  expect([answer.status, path]).toEqual([status, path]);
  return answer.json<{ message: string }>().message;
};

test('a 403 names who, what, the hop and the line to add', async () => {
  allow('images:read');
  expect(await message('POST', '/images/app/push?tag=1', 403)).toBe(
    'user root (uid 0) may not POST /images/{name}/push: it lacks the scope "images:write" (at hop: host). ' +
      `Add to "rules" in ${policyFile}: {"match":{"uid":0},"scopes":["images:write"]}`,
  );
  allow('images:write');
  expect(await message('POST', '/images/app/push?tag=1', 404)).toMatch(/does not exist locally/);
});

test('who may not build hears so when buildx looks for a builder of its own', async () => {
  allow('images:write');
  const path = '/containers/buildx_buildkit_default0/json';
  expect(await message('GET', path, 403)).toContain('lacks the scope "build"');
  expect(await message('GET', '/containers/other/json', 403)).toContain('lacks the scope "system:read"');
  allow('build');
  expect(await message('GET', path, 404)).toContain('No such container: buildx_buildkit_default0');
});

test('over BuildKit’s API a call is refused in the same words', async () => {
  allow('images:read');
  const scope = await failure(kit.control.solve({ Ref: 'a' }));
  expect(scope.rawMessage).toMatch(
    /^user root \(uid 0\) may not .*Solve: it lacks the scope "build" \(at hop: host\)\. /,
  );
  expect(scope.rawMessage).toContain(
    `Add to "rules" in ${policyFile}: {"match":{"uid":0},"scopes":["build"]}`,
  );
  allow('build');
  const entitled = await failure(kit.solve({ Frontend: 'dockerfile.v0', Entitlements: ['network.host'] }));
  expect(entitled.rawMessage).toMatch(
    /granting entitlement network.host is not allowed: builds of user root \(uid 0\) may not have it/,
  );
  expect(entitled.rawMessage).toContain(
    `Add to "rules" in ${policyFile}: {"match":{"uid":0},"scopes":["build"],"allow":["network.host"]}`,
  );
  const body = tarOf({ Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' });
  const classic = await daemon.ask('POST', '/build?networkmode=host', { body });
  expect([classic.status, classic.text]).toEqual([403, expect.stringContaining(policyFile)]);
});

test('a registry’s 401 tells credentials that were sent from none', async () => {
  allow('*');
  const server = createServer((_, response) => {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="there"' }).end('{}');
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const image = `127.0.0.1:${(server.address() as AddressInfo).port}/app:1`;
  const pull = async (headers = {}) =>
    (await daemon.ask('POST', `/images/create?fromImage=${encodeURIComponent(image)}`, { headers })).text;
  const auth = { username: 'me', password: 'wrong' };
  const sent = await pull({ 'x-registry-auth': Buffer.from(JSON.stringify(auth)).toString('base64url') });
  expect(sent).toContain('did not take the credentials that the request sent (X-Registry-Auth)');
  expect(await pull()).toContain('No credentials were given. Log in with');
  const { statusError } = await import('../../../src/registry/errors.ts');
  const purpose = { doing: 'pulling', host: 'reg.example', repository: 'reg.example/app' };
  expect(statusError(purpose, 401, '', auth).hint).toContain('did not take the stored credentials');
  server.close();
});
