/** Who may do what, on a real daemon: unix socket, TLS with client certificates, tokens, OIDC, a policy that changes. */
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, get, type IncomingMessage, type Server } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createToken, hashPassword } from '../../src/auth/token-hash.ts';
import { type Certs, makeCerts } from '../kit/certs.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';

let dir: string;
let policyFile: string;
let auditFile: string;
let daemon: TestDaemon;
let certs: Certs;
let port: number;
const ci = createToken();
const old = createToken();

const root = { match: { uid: 0 }, scopes: ['*'], allow: ['network.host'] };
const tokens = [
  { name: 'ci', hash: ci.hash },
  { name: 'old', hash: old.hash, expires: '2020-01-01' },
];

/** Puts a policy in force as an editor does: a new file in place of the old. */
function setPolicy(policy: object): void {
  writeFileSync(policyFile, JSON.stringify(policy), { mode: 0o640 });
  daemon?.reload();
}

interface Told {
  status: number;
  message: string;
  headers: IncomingMessage['headers'];
}

/** One request over TLS. */
function overTls(
  path: string,
  options: { cert?: { cert: string; key: string }; headers?: Record<string, string>; method?: string } = {},
): Promise<Told> {
  const { cert, headers, method = 'GET' } = options;
  return new Promise((resolve, reject) => {
    const sent = httpsRequest({
      host: '127.0.0.1',
      port,
      path,
      method,
      headers,
      agent: false,
      ca: readFileSync(certs.ca),
      ...(cert && { cert: readFileSync(cert.cert), key: readFileSync(cert.key) }),
    });
    sent.on('error', reject);
    sent.on('response', async (response) => {
      let text = '';
      for await (const part of response) text += part;
      const message = text.startsWith('{') ? String(JSON.parse(text).message) : text;
      resolve({ status: response.statusCode ?? 0, message, headers: response.headers });
    });
    sent.end();
  });
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

const audit = () =>
  readFileSync(auditFile, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-edge-'));
  policyFile = join(dir, 'policy.json');
  auditFile = join(dir, 'audit.log');
  certs = makeCerts(dir);
  setPolicy({ rules: [root], tokens });
  const { cert, key } = certs.issue('server', 'IP:127.0.0.1');
  daemon = await startTestDaemon({
    hosts: ['tcp://127.0.0.1:0'],
    tls: { cert, key, ca: certs.ca },
    policyFile,
    auditFile,
  });
  port = Number(daemon.addresses[1]?.split(':').at(-1));
});
afterAll(async () => {
  await daemon?.stop();
  rmSync(dir, { recursive: true, force: true });
});
beforeEach(() => setPolicy({ rules: [root], tokens }));

describe('a unix socket', () => {
  test('knows its peer: the rule for uid 0 lets root in', async () => {
    expect((await daemon.ask('GET', '/images/json')).status).toBe(200);
    expect(audit().at(-1)).toMatchObject({
      decision: 'allowed',
      endpoint: 'GET /images/json',
      scopes: ['images:read'],
      identity: { kind: 'peer', uid: 0, user: 'root', pid: process.pid },
    });
  });

  test('a 403 names who, what, the missing scope and the line to add; that line gives it', async () => {
    setPolicy({ rules: [] });
    const refused = await daemon.ask('GET', '/v1.41/images/json');
    expect(refused.status).toBe(403);
    const { message } = refused.json<{ message: string }>();
    const rule = '{"match":{"uid":0},"scopes":["images:read"]}';
    expect(message).toBe(
      `user root (uid 0) may not GET /images/json: it lacks the scope "images:read" (at hop: host). Add to "rules" in ${policyFile}: ${rule}`,
    );
    expect(audit().at(-1)).toMatchObject({ decision: 'denied', endpoint: 'GET /images/json' });
    setPolicy({ rules: [JSON.parse(rule)] });
    expect((await daemon.ask('GET', '/images/json')).status).toBe(200);
    expect((await daemon.ask('GET', '/info')).status).toBe(403);
  });

  test('the docker CLI shows the refusal as it is', async () => {
    setPolicy({ rules: [] });
    const { code, stderr } = await daemon.docker(['images']);
    expect(code).toBe(1);
    expect(stderr).toContain('Error response from daemon: user root (uid 0) may not GET /images/json');
  });

  test('what is open to anyone stays so', async () => {
    setPolicy({ rules: [] });
    expect((await daemon.ask('GET', '/_ping')).status).toBe(200);
    expect((await daemon.ask('GET', '/version')).status).toBe(200);
    expect((await daemon.ask('GET', '/healthz')).status).toBe(200);
    expect((await daemon.ask('GET', '/metrics')).status).toBe(403);
  });

  test('a connection is not given away without the scope', async () => {
    setPolicy({ rules: [] });
    const socket = connect(daemon.socket);
    socket.write(
      'POST /session HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nX-Docker-Expose-Session-Uuid: abc\r\n\r\n',
    );
    let text = '';
    for await (const part of socket) text += part;
    expect(text).toMatch(/^HTTP\/1\.1 403 /);
    expect(text).toContain('lacks the scope \\"build\\"');
    expect((await daemon.ask('GET', '/healthz')).status).toBe(200);
  });
});

describe('TLS', () => {
  test('a client certificate of the CA is an identity; rules match its name', async () => {
    const alice = certs.issue('alice');
    setPolicy({ rules: [{ match: { cert: { cn: 'ali*' } }, scopes: ['images:read'] }] });
    expect((await overTls('/images/json', { cert: alice })).status).toBe(200);
    const refused = await overTls('/info', { cert: alice });
    expect(refused.status).toBe(403);
    expect(refused.message).toContain('the client certificate CN=alice may not GET /info');
    expect(refused.message).toContain('{"match":{"cert":{"cn":"alice"}},"scopes":["system:read"]}');
    expect(audit().at(-1)).toMatchObject({ decision: 'denied', identity: { kind: 'cert', cn: 'alice' } });
  });

  test('a certificate of another CA is refused, whatever its name', async () => {
    const forged = makeCerts(dir, 'other').issue('alice');
    setPolicy({ rules: [{ match: { cert: { cn: 'alice' } }, scopes: ['*'] }] });
    const refused = await overTls('/images/json', { cert: forged });
    expect(refused.status).toBe(401);
    expect(refused.message).toContain('the client certificate (CN=alice) is refused');
  });

  test('nobody in particular gets a 401 that says how to be somebody', async () => {
    const refused = await overTls('/images/json');
    expect(refused.status).toBe(401);
    expect(refused.message).toContain('this request says not who it is from');
    expect(refused.headers['www-authenticate']).toContain('Bearer');
  });

  test('plain HTTP on a TLS port reaches nothing', async () => {
    await expect(daemon.ask('GET', '/_ping', { to: { host: '127.0.0.1', port } })).rejects.toThrow();
  });

  test('TCP without TLS is refused at the start, and beyond loopback even with the flag', async () => {
    await expect(startTestDaemon({ hosts: ['tcp://127.0.0.1:0'] })).rejects.toThrow(/TCP needs TLS/);
    await expect(startTestDaemon({ hosts: ['tcp://0.0.0.0:0'], insecureTcp: true })).rejects.toThrow(
      /for this machine alone/,
    );
  });
});

describe('static tokens', () => {
  test('are sent as Bearer or as a password, and get what their rule gives', async () => {
    setPolicy({ rules: [{ match: { token: 'ci' }, scopes: ['images:read'] }], tokens });
    expect((await overTls('/images/json', { headers: bearer(ci.token) })).status).toBe(200);
    const basic = Buffer.from(`ci:${ci.token}`).toString('base64');
    expect((await overTls('/images/json', { headers: { authorization: `Basic ${basic}` } })).status).toBe(
      200,
    );
    const refused = await overTls('/info', { headers: bearer(ci.token) });
    expect(refused.status).toBe(403);
    expect(refused.message).toContain('the token ci may not GET /info');
  });

  test('a wrong or expired one is a 401, on the unix socket too, and is never logged', async () => {
    const wrong = await daemon.ask('GET', '/images/json', { headers: bearer('ddk_wrong-secret-words') });
    expect(wrong.status).toBe(401);
    expect((await overTls('/images/json', { headers: bearer(old.token) })).message).toContain(
      'the token old expired at 2020-01-01T00:00:00.000Z',
    );
    const logged = readFileSync(auditFile, 'utf8') + JSON.stringify(daemon.log());
    for (const secret of ['wrong-secret-words', ci.token, old.token]) expect(logged).not.toContain(secret);
    expect(audit().at(-1)).toMatchObject({ decision: 'unauthenticated' });
  });

  test('a chosen password is hashed with scrypt', async () => {
    const hash = await hashPassword('correct horse battery');
    setPolicy({
      rules: [{ match: { token: 'alice' }, scopes: ['images:read'] }],
      tokens: [{ name: 'alice', hash }],
    });
    const as = (password: string) => ({
      authorization: `Basic ${Buffer.from(`alice:${password}`).toString('base64')}`,
    });
    expect((await overTls('/images/json', { headers: as('correct horse battery') })).status).toBe(200);
    expect((await overTls('/images/json', { headers: as('wrong') })).status).toBe(401);
    expect(
      (await overTls('/images/json', { headers: bearer('correct horse battery'.replaceAll(' ', '')) }))
        .status,
    ).toBe(401);
  });
});

describe('OIDC', () => {
  let issuer: string;
  let server: Server;
  let keys: Awaited<ReturnType<typeof generateKeyPair>>;
  beforeAll(async () => {
    keys = await generateKeyPair('ES256');
    const jwk = { ...(await exportJWK(keys.publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' };
    server = createServer((request, response) => {
      response.setHeader('content-type', 'application/json');
      if (request.url === '/.well-known/openid-configuration') {
        response.end(JSON.stringify({ issuer, jwks_uri: `${issuer}/keys` }));
      } else response.end(JSON.stringify({ keys: [jwk] }));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    issuer = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  });
  afterAll(() => void server.close());
  beforeEach(() =>
    setPolicy({
      oidc: [{ issuer, audience: 'drydock' }],
      rules: [
        {
          match: { oidc: { issuer, subject: 'repo:you/*', claims: { ref: 'refs/heads/main' } } },
          scopes: ['images:read'],
        },
      ],
    }),
  );

  const token = (claims: object, options: { audience?: string; at?: number; key?: CryptoKey } = {}) => {
    const { audience = 'drydock', at = Math.floor(Date.now() / 1000), key = keys.privateKey } = options;
    return new SignJWT({ ref: 'refs/heads/main', sub: 'repo:you/app', ...claims })
      .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
      .setIssuer(issuer)
      .setAudience(audience)
      .setIssuedAt(at)
      .setExpirationTime(at + 300)
      .sign(key);
  };
  const withToken = async (jwt: Promise<string>) => overTls('/images/json', { headers: bearer(await jwt) });

  test('a token of a listed issuer is an identity; rules match subject and claims', async () => {
    expect((await withToken(token({}))).status).toBe(200);
    const branch = await withToken(token({ ref: 'refs/heads/other' }));
    expect(branch.status).toBe(403);
    expect(branch.message).toContain(`repo:you/app (OIDC, ${issuer}) may not GET /images/json`);
    expect((await withToken(token({ sub: 'repo:they/app' }))).status).toBe(403);
  });

  test('what does not hold is a 401 that says what', async () => {
    expect((await withToken(token({}, { audience: 'other' }))).message).toContain('its audience is "other"');
    expect((await withToken(token({}, { at: 1_000_000_000 }))).message).toContain('it expired at 2001');
    const { privateKey } = await generateKeyPair('ES256');
    expect(await withToken(token({}, { key: privateKey }))).toMatchObject({
      status: 401,
      message: expect.stringContaining('its signature does not hold'),
    });
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(
      JSON.stringify({ iss: issuer, aud: 'drydock', sub: 'repo:you/app', exp: 9e9 }),
    ).toString('base64url')}.`;
    expect((await overTls('/images/json', { headers: bearer(none) })).status).toBe(401);
  });

  test('an issuer that is not listed is not asked', async () => {
    setPolicy({ rules: [] });
    expect((await withToken(token({}))).message).toContain('is not one the policy lists under "oidc"');
  });
});

describe('a policy that changes', () => {
  test('is read again without a signal', async () => {
    writeFileSync(policyFile, JSON.stringify({ rules: [] }));
    await expect.poll(async () => (await daemon.ask('GET', '/images/json')).status).toBe(403);
  });

  test('a broken one is logged with its place, and the one before stays', async () => {
    writeFileSync(policyFile, '{"rules": [{"match": {"uid": 0}, "scopse": ["*"]}]}');
    daemon.reload();
    expect((await daemon.ask('GET', '/images/json')).status).toBe(200);
    const errors = daemon.log().filter(({ level }) => level === 'error');
    expect(errors.at(-1)?.message).toContain(
      `${policyFile}:1:34: a rule has no "scopse" (did you mean scopes?)`,
    );
  });

  test('one that others can write is not taken', async () => {
    writeFileSync(policyFile, '{"rules": []}');
    chmodSync(policyFile, 0o666);
    daemon.reload();
    expect((await daemon.ask('GET', '/images/json')).status).toBe(200);
    chmodSync(policyFile, 0o640);
  });

  test('what was let in before goes on to its end', async () => {
    const stream = await new Promise<IncomingMessage>((resolve, reject) => {
      get({ socketPath: daemon.socket, path: '/events', agent: false }, resolve).on('error', reject);
    });
    const seen: string[] = [];
    stream.on('data', (part) => seen.push(String(part)));
    stream.on('error', () => {});
    setPolicy({ rules: [] });
    expect((await daemon.ask('GET', '/events?until=1')).status).toBe(403);
    expect(stream.destroyed).toBe(false);
    expect(stream.statusCode).toBe(200);
    stream.destroy();
  });

  test('every decision has its line, with the ID that the answer carries', async () => {
    const before = audit().length;
    const { headers } = await daemon.ask('GET', '/images/json?all=1');
    expect(audit().slice(before)).toMatchObject([
      { requestId: headers['x-request-id'], endpoint: 'GET /images/json', decision: 'allowed' },
    ]);
  });
});
