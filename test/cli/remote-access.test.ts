/** The command at a daemon that asks who it is: TLS with client certificates, tokens, and what doctor says of it. */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { createToken } from '../../src/auth/token-hash.ts';
import { makeCerts } from '../kit/certs.ts';
import { Cli } from '../kit/cli.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';

const cli = new Cli();
const ci = createToken();
let daemon: TestDaemon;
let overTls: string;
let context: string;

/** A folder as DRYDOCK_CERT_PATH names it. */
function certFolder(name: string, files: Record<string, string>): string {
  const dir = join(cli.dir, name);
  mkdirSync(dir);
  for (const [file, from] of Object.entries(files)) copyFileSync(from, join(dir, file));
  return dir;
}

let withCertificate: string;
let withoutCertificate: string;

beforeAll(async () => {
  const certs = makeCerts(cli.dir);
  const server = certs.issue('server', 'IP:127.0.0.1');
  const alice = certs.issue('alice');
  withCertificate = certFolder('alice-certs', {
    'ca.pem': certs.ca,
    'cert.pem': alice.cert,
    'key.pem': alice.key,
  });
  withoutCertificate = certFolder('ca-only', { 'ca.pem': certs.ca });
  const policyFile = join(cli.dir, 'policy.json');
  const policy = {
    rules: [
      { match: { cert: { cn: 'alice' } }, scopes: ['*'] },
      { match: { token: 'ci' }, scopes: ['build', 'images:read', 'images:write'] },
    ],
    tokens: [{ name: 'ci', hash: ci.hash }],
  };
  writeFileSync(policyFile, JSON.stringify(policy));
  daemon = await startTestDaemon({
    hosts: ['tcp://127.0.0.1:0'],
    tls: { ...server, ca: certs.ca },
    policyFile,
    grpc: (host) => buildkitApi(host),
  });
  overTls = daemon.addresses[1] as string;
  context = cli.files('context', { Dockerfile: 'FROM scratch\nCOPY a /\n', a: 'A' });
});
afterAll(async () => {
  await daemon?.stop();
  cli.close();
});

const at = (host: string, env: Record<string, string> = {}) => ({ env: { DRYDOCK_HOST: host, ...env } });

test('TLS: a client certificate builds, session and all, and lists', async () => {
  const env = { DRYDOCK_CERT_PATH: withCertificate };
  await cli.ok(['build', '-q', '-t', 'by-alice', context], at(overTls, env));
  expect((await cli.ok(['images', '-q', 'by-alice'], at(overTls, env))).stdout).toMatch(/^[0-9a-f]{12}\n$/);
});

test('TLS: a token does as well, for what its rule gives', async () => {
  const env = { DRYDOCK_CERT_PATH: withoutCertificate, DRYDOCK_TOKEN: ci.token };
  await cli.ok(['build', '-q', '-t', 'by-ci', context], at(overTls, env));
  const { code, stderr } = await cli.run(['du'], at(overTls, env));
  expect([code, stderr]).toEqual([1, expect.stringContaining('the token ci may not GET /system/df')]);
});

test('TLS: nobody in particular, and a server that is not of the CA, are told so', async () => {
  const nobody = await cli.run(['build', context], at(overTls, { DRYDOCK_CERT_PATH: withoutCertificate }));
  expect([nobody.code, nobody.stderr]).toEqual([1, expect.stringContaining('says not who it is from')]);
  const other = certFolder('other-certs', { 'ca.pem': makeCerts(cli.dir, 'other').ca });
  const distrusted = await cli.run(['images'], at(overTls, { DRYDOCK_CERT_PATH: other }));
  expect(distrusted.code).toBe(1);
  expect(distrusted.stderr).toContain(`cannot reach the daemon at ${overTls}`);
  expect(distrusted.stderr).toMatch(/certificate/);
});

test('a token counts on the unix socket, too', async () => {
  const env = { DRYDOCK_TOKEN: ci.token };
  await cli.ok(['build', '-q', context], at(daemon.host, env));
  const { code, stderr } = await cli.run(['images'], at(daemon.host));
  expect([code, stderr]).toEqual([1, expect.stringContaining('user root (uid 0) may not GET /images/json')]);
});

test('doctor says what the daemon is, and what of it this client may not use', async () => {
  const good = await cli.ok(['doctor'], at(overTls, { DRYDOCK_CERT_PATH: withCertificate }));
  expect(good.stdout).toMatch(/^ok {4}daemon +\S+ at tcp:\/\/127\.0\.0\.1:\d+, API 1\.\d+, over TLS$/m);
  expect(good.stdout).toMatch(/^ok {4}health/m);
  expect(good.stdout).toMatch(/^ok {4}store +local store in .*root/m);
  expect(good.stdout).toMatch(/^ok {4}builds +for linux\/amd64/m);
  const token = { DRYDOCK_CERT_PATH: withoutCertificate, DRYDOCK_TOKEN: ci.token };
  const partly = await cli.run(['doctor'], at(overTls, token));
  expect(partly.code).toBe(1);
  expect(partly.stdout).toMatch(/^LACK {2}store +the token ci may not GET \/info/m);
  const away = await cli.run(['doctor'], at('unix:///nowhere.sock'));
  expect([away.code, away.stdout]).toEqual([
    1,
    expect.stringMatching(/^LACK {2}daemon +cannot reach .*\(ENOENT\)\n +No daemon listens there/),
  ]);
  const verify = await cli.run(['doctor', '--verify'], at(daemon.host));
  expect([verify.code, verify.stderr]).toEqual([
    1,
    expect.stringContaining('--verify reads the store itself'),
  ]);
});
