/**
 * Whose password goes where. A registry, a file server, a git remote or an issuer that a user has credentials for sends
 * us on to somebody else, in every way that the protocols have: what arrives there holds nothing of the user's.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer as createTcp, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { duplexPair } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createOidcTokens } from '../../src/auth/oidc.ts';
import { UNIMPLEMENTED } from '../../src/grpc/status.ts';
import type { CredentialSource, RegistryCredentials } from '../../src/oci/credentials.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { RegistryClient, type RegistryClientOptions } from '../../src/registry/client.ts';
import { SessionManager } from '../../src/session/manager.ts';
import { Git } from '../../src/source/git-run.ts';
import { download } from '../../src/source/http-fetch.ts';
import { makeCerts } from '../kit/certs.ts';
import { startTestDaemon } from '../kit/daemon.ts';
import { answerGit } from '../kit/git-server.ts';
import { Status } from '../kit/session/grpc-server.ts';
import { SessionClient } from '../kit/session/session-client.ts';

const user = { username: 'ann', password: 'pa55word' };
const pair = Buffer.from('ann:pa55word').toString('base64');
const basic = `Basic ${pair}`;
/** What is the user's, in each form in which it could be sent. */
const secrets = [pair, user.password, 'refresh-me', 'token-of-ann'];
const blob = Buffer.from('a layer');
const descriptor = { digest: digestOf(blob), size: blob.length };

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

interface Party {
  /** Its name as a registry that is met with TLS: `0.0.0.0:41234` is this machine, but not "localhost" to docker. */
  host: string;
  /** Its name as one that is met without: `127.0.0.1:41234`. */
  local: string;
  /** All that came, of one scheme or both: method, path, headers, body, certificate. */
  heard(scheme?: 'http' | 'https'): string;
}

let dir: string;
let tls: { key: Buffer; cert: Buffer; ca: Buffer };
let caFile: string;
let own: { cert: string; key: string };
const servers: Server[] = [];

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-credentials-'));
  const certs = makeCerts(dir);
  const { cert, key } = certs.issue('server', 'IP:127.0.0.1,IP:0.0.0.0');
  caFile = certs.ca;
  own = certs.issue('ann');
  tls = { key: readFileSync(key), cert: readFileSync(cert), ca: readFileSync(caFile) };
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** A server that hears everything, and speaks both http and https on one port. */
async function party(answer: Handler): Promise<Party> {
  const heard: { scheme: string; text: string }[] = [];
  const take = (request: IncomingMessage, response: ServerResponse) => {
    const { method, url, headers } = request;
    const scheme = schemeOf(request);
    const subject = (request.socket as Partial<TLSSocket>).getPeerCertificate?.()?.subject ?? {};
    heard.push({ scheme, text: JSON.stringify([method, url, headers, subject]) });
    request.on('data', (chunk) => heard.push({ scheme, text: String(chunk) }));
    answer(request, response);
  };
  const plain = createHttp({ keepAliveTimeout: 1 }, take);
  const safe = createHttps(
    { ...tls, requestCert: true, rejectUnauthorized: false, keepAliveTimeout: 1 },
    take,
  );
  const server = createTcp((socket) => {
    socket.on('error', () => {});
    socket.once('data', (first: Buffer) => {
      socket.pause();
      socket.unshift(first);
      if (first[0] === 0x16) return safe.emit('connection', socket);
      plain.emit('connection', socket);
      socket.resume();
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    host: `0.0.0.0:${port}`,
    local: `127.0.0.1:${port}`,
    heard: (scheme) =>
      heard
        .filter((each) => scheme === undefined || each.scheme === scheme)
        .map(({ text }) => text)
        .join('\n'),
  };
}

const schemeOf = ({ socket }: IncomingMessage) => ('encrypted' in socket ? 'https' : 'http');

/** A server that is one party over TLS and another without. */
const faces =
  (safe: Handler, plain: Handler): Handler =>
  (request, response) =>
    (schemeOf(request) === 'https' ? safe : plain)(request, response);

/** Strangers were asked, and heard nothing of the user's, in any form. */
function expectClean(...heard: string[]): void {
  const text = heard.join('\n');
  expect(text).not.toBe('');
  for (const secret of [...secrets, ...secrets.map(encodeURIComponent)]) expect(text).not.toContain(secret);
  expect(text).not.toMatch(/authorization|"CN"/i);
}

function clientFor(hosts: readonly Party[], options: Partial<RegistryClientOptions> = {}): RegistryClient {
  const trusted = { ca: [caFile], keypairs: [own] };
  return new RegistryClient({
    userAgent: 'test/1',
    retries: 0,
    idleMs: 5000,
    certificates: Object.fromEntries(
      hosts.flatMap(({ host, local }) => [host, local]).map((name) => [name, trusted]),
    ),
    ...options,
  });
}

/** The user's credentials for these hosts, in the ways a client may have them. */
function credentialsFor(hosts: readonly string[], credentials: RegistryCredentials = user): CredentialSource {
  return async (host) => (hosts.includes(host) ? credentials : undefined);
}

async function bytesOf(client: RegistryClient, ref: string, credentials: CredentialSource): Promise<string> {
  let text = '';
  for await (const chunk of await client.blob(ref, descriptor, { credentials })) text += chunk;
  return text;
}

/** Answers like a registry that wants proof: `proof` is the header it takes, `challenge` how it asks. */
const registry =
  (proof: string, challenge: () => string, then: Handler): Handler =>
  (request, response) => {
    if (request.headers.authorization === proof) return then(request, response);
    response.writeHead(401, { 'www-authenticate': challenge() }).end();
  };

const redirect =
  (to: (path: string) => string, status = 307): Handler =>
  (request, response) => {
    response.writeHead(status, { location: to(request.url ?? '/') }).end();
  };

/** Strangers that ask for the password themselves, each in its way. */
const demands: [string, (stranger: () => Party) => Handler][] = [
  [
    'by Basic',
    () => (_, response) => response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end(),
  ],
  [
    'by Bearer, with a realm of its own',
    (stranger) => (_, response) => {
      const realm = `https://${stranger().host}/token`;
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="x"` }).end();
    },
  ],
];

/** Other origins than the registry's, by what differs. The registry is the stranger where it is met without TLS. */
const origins: [string, (home: Party, stranger: Party) => string][] = [
  ['another port', (_, { host }) => `https://${host}`],
  ['another name', (_, { local }) => `https://${local}`],
  ['another scheme', ({ host }) => `http://${host}`],
  ['another everything', (_, { local }) => `http://${local}`],
];

describe.each(demands)('a blob is elsewhere, and who has it asks for proof %s', (_, demand) => {
  test.each(origins)('at %s: it gets none', async (_, origin) => {
    const asking: Handler = (request, response) => demand(() => stranger)(request, response);
    const stranger: Party = await party(asking);
    const sendOn = redirect((path) => origin(home, stranger) + path);
    const home: Party = await party(
      faces(
        registry(basic, () => 'Basic realm="home"', sendOn),
        asking,
      ),
    );
    const client = clientFor([home, stranger]);
    await expect(bytesOf(client, `${home.host}/a/b`, credentialsFor([home.host]))).rejects.toMatchObject({
      code: 'unauthenticated',
    });
    expect(home.heard('https')).toContain(basic);
    expectClean(stranger.heard(), home.heard('http'));
    client.close();
  });

  test('a client that gets its tokens itself is not asked for one', async () => {
    const stranger: Party = await party((request, response) => demand(() => stranger)(request, response));
    const home: Party = await party(redirect((path) => `https://${stranger.host}${path}`));
    const realms: string[] = [];
    const tokens = {
      identity: 'ann',
      async fetch({ realm }: { realm: string }) {
        realms.push(realm);
        return { token: 'token-of-ann' };
      },
    };
    const login = async () => {
      realms.push('asked for the password');
      return user;
    };
    const client = clientFor([home, stranger]);
    const source = credentialsFor([home.host], { tokens, login });
    await expect(bytesOf(client, `${home.host}/a/b`, source)).rejects.toThrow(
      `${stranger.host}, where the registry ${home.host} sent us`,
    );
    expect(realms).toEqual([]);
    expectClean(stranger.heard());
    client.close();
  });
});

describe('a Bearer token', () => {
  /** A registry with a token server that gives ann's token to her password. */
  async function withTokens(then: Handler, plain: Handler = then): Promise<{ home: Party; realm: Party }> {
    const realm = await party((request, response) => {
      const known = request.headers.authorization === basic;
      response.writeHead(known ? 200 : 401).end(JSON.stringify({ token: 'token-of-ann' }));
    });
    const challenge = () => `Bearer realm="https://${realm.host}/token",service="home"`;
    return { home: await party(faces(registry('Bearer token-of-ann', challenge, then), plain)), realm };
  }

  test.each(origins)('does not follow a redirect to %s', async (_, origin) => {
    const layer: Handler = (_, response) => response.end(blob);
    const stranger = await party(layer);
    const sendOn = redirect((path) => origin(home, stranger) + path);
    const { home, realm } = await withTokens((...args) => sendOn(...args), layer);
    const client = clientFor([home, realm, stranger]);
    expect(await bytesOf(client, `${home.host}/a/b`, credentialsFor([home.host]))).toBe('a layer');
    expect(realm.heard()).toContain(basic);
    expectClean(stranger.heard(), home.heard('http'));
    client.close();
  });

  test('does not come back with a redirect that goes home again', async () => {
    const stranger: Party = await party(redirect(() => `https://${home.host}/v2/other`));
    const { home, realm } = await withTokens(redirect((path) => `https://${stranger.host}${path}`));
    const client = clientFor([home, realm, stranger]);
    await expect(bytesOf(client, `${home.host}/a/b`, credentialsFor([home.host]))).rejects.toThrow();
    expectClean(stranger.heard(), home.heard().match(/"\/v2\/other".*/)?.[0] ?? '');
    client.close();
  });
});

test('a token that a client got itself is not for another one whose session has the same ID', async () => {
  const realm = 'Bearer realm="https://127.0.0.1:1/token"';
  const layer: Handler = (_, response) => response.end(blob);
  const home = await party(registry('Bearer token-of-ann', () => realm, layer));
  const client = clientFor([home]);
  const manager = new SessionManager();
  const unproven = async () => {
    throw new Status(UNIMPLEMENTED, 'it proves no account');
  };
  const sessions = [
    { owner: 'token ann', token: 'token-of-ann' },
    { owner: 'token bob', token: 'token-of-bob' },
  ].map(({ owner, token }) => {
    const handlers = { '/moby.filesync.v1.Auth/VerifyTokenAuthority': unproven };
    const peer = new SessionClient({ id: 'same', tokens: () => ({ token, expiresIn: 300 }), handlers });
    const [ours, theirs] = duplexPair();
    const session = manager.accept(ours, peer.headers, owner);
    peer.serve(theirs);
    return (host: string) => session.credentials(host);
  });
  const [ann, bob] = sessions as [CredentialSource, CredentialSource];
  expect(await bytesOf(client, `${home.host}/a/b`, ann)).toBe('a layer');
  await expect(bytesOf(client, `${home.host}/a/b`, bob)).rejects.toMatchObject({ code: 'unauthenticated' });
  client.close();
  manager.close();
});

describe('a token server', () => {
  test('without TLS gets nothing from a registry with TLS, and the error says so', async () => {
    const realm = await party((_, response) => response.end('{"token":"x"}'));
    const home = await party((_, response) => {
      response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${realm.local}/token"` }).end();
    });
    const fetched: string[] = [];
    const tokens = {
      identity: 'ann',
      async fetch() {
        fetched.push('a token');
        return { token: 'token-of-ann' };
      },
    };
    const client = clientFor([home, realm]);
    for (const credentials of [user, { identityToken: 'refresh-me' }, { tokens }]) {
      const source = credentialsFor([home.host], credentials);
      await expect(bytesOf(client, `${home.host}/a/b`, source)).rejects.toMatchObject({
        code: 'denied',
        message: expect.stringContaining('token server without TLS'),
      });
    }
    expect([realm.heard(), fetched]).toEqual(['', []]);
    client.close();
  });

  test.each([
    ['a password, asked with GET', user, 307],
    ['a refresh token, asked with POST', { identityToken: 'refresh-me' }, 307],
    ['a refresh token, asked with POST', { identityToken: 'refresh-me' }, 308],
    ['a refresh token, asked with POST', { identityToken: 'refresh-me' }, 302],
    ['a refresh token, asked with POST', { identityToken: 'refresh-me' }, 303],
  ])('that redirects elsewhere does not pass on %s (%#)', async (_, credentials, status) => {
    const stranger = await party((_, response) => response.end('{"token":"x"}'));
    const realm = await party(redirect((path) => `https://${stranger.host}${path}`, status));
    const home = await party((_, response) => {
      response.writeHead(401, { 'www-authenticate': `Bearer realm="https://${realm.host}/token"` }).end();
    });
    const client = clientFor([home, realm, stranger]);
    const source = credentialsFor([home.host], credentials);
    await expect(bytesOf(client, `${home.host}/a/b`, source)).rejects.toMatchObject({ code: 'denied' });
    expect(stranger.heard()).toBe('');
    client.close();
  });

  test('of one registry never gets what another was given, wherever it points', async () => {
    const inner = await party((_, response) => response.writeHead(401).end());
    const evil = await party((_, response) => {
      response.writeHead(401, { 'www-authenticate': `Bearer realm="https://${inner.host}/v2/"` }).end();
    });
    const ca = [caFile];
    const client = clientFor([], { certificates: { [evil.host]: { ca }, [inner.host]: { ca } } });
    // The user has credentials at `inner`, and none at `evil`.
    await expect(bytesOf(client, `${evil.host}/a/b`, credentialsFor([inner.host]))).rejects.toThrow();
    expectClean(inner.heard());
    client.close();
  });
});

describe('where an upload goes', () => {
  const ways: [string, (url: string) => Handler][] = [
    [
      'is named by Location',
      (url) => (request, response) => {
        if (request.method === 'HEAD') response.writeHead(404).end();
        else response.writeHead(202, { location: url }).end();
      },
    ],
    [
      'is found by a redirect of the bytes',
      (url) => (request, response) => {
        if (request.method === 'HEAD') response.writeHead(404).end();
        else if (request.method === 'POST') response.writeHead(202, { location: '/v2/up' }).end();
        else response.writeHead(307, { location: url }).end();
      },
    ],
  ];
  describe.each(ways)('%s', (_, way) => {
    test.each(origins)('at %s: no password goes there, even if asked for', async (_, origin) => {
      const asking: Handler = (_, response) => {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      };
      const stranger = await party(asking);
      const sendOn: Handler = (...args) => way(`${origin(home, stranger)}/put`)(...args);
      const home: Party = await party(
        faces(
          registry(basic, () => 'Basic realm="home"', sendOn),
          asking,
        ),
      );
      const client = clientFor([home, stranger]);
      const push = client.pushBlob(`${home.host}/a/b`, descriptor, async () => blob, {
        credentials: credentialsFor([home.host]),
      });
      await expect(push).rejects.toMatchObject({ code: 'unauthenticated' });
      expect(home.heard('https')).toContain(basic);
      expectClean(stranger.heard(), home.heard('http'));
      client.close();
    });
  });
});

test('a stranger’s challenge to the first, unproven look at a registry is not the registry’s', async () => {
  const stranger: Party = await party((_, response) => {
    response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${stranger.local}/token"` }).end();
  });
  const home: Party = await party((request, response) => {
    if (request.url === '/v2/') redirect(() => `http://${stranger.local}/v2/`)(request, response);
    else response.end(blob);
  });
  const client = clientFor([]);
  expect(await bytesOf(client, `${home.local}/a/b`, credentialsFor([home.local]))).toBe('a layer');
  expectClean(stranger.heard());
  client.close();
});

test('a layer’s own URL is asked without credentials, but for one of the registry itself', async () => {
  const stranger = await party((_, response) => response.end(blob));
  const home = await party((_, response) => response.writeHead(404).end());
  const client = clientFor([home, stranger]);
  const foreign = { ...descriptor, urls: [`https://${stranger.host}/layer`] };
  const credentials = credentialsFor([home.host, stranger.host], { registryToken: 'token-of-ann' });
  let text = '';
  for await (const chunk of await client.blob(`${home.host}/a/b`, foreign, { credentials })) text += chunk;
  expect(text).toBe('a layer');
  expectClean(stranger.heard());
  client.close();
});

describe('a mirror', () => {
  test('gets its own credentials and not those of the registry that it mirrors', async () => {
    const mirror = await party((_, response) =>
      response.writeHead(401, { 'www-authenticate': 'Basic' }).end(),
    );
    const home = await party(
      registry(
        basic,
        () => 'Basic',
        (_, response) => response.end(blob),
      ),
    );
    const client = clientFor([home], { mirrors: { [home.host]: [mirror.host] }, insecure: [mirror.host] });
    expect(await bytesOf(client, `${home.host}/a/b`, credentialsFor([home.host]))).toBe('a layer');
    expectClean(mirror.heard());
    client.close();
  });

  test('gets nothing of X-Registry-Auth, which is for the image’s own registry', async () => {
    const mirror = await party((_, response) =>
      response.writeHead(401, { 'www-authenticate': 'Basic' }).end(),
    );
    const home = await party((_, response) => response.writeHead(401, { 'www-authenticate': 'Basic' }).end());
    const daemon = await startTestDaemon({ registryMirrors: { [home.local]: [mirror.local] } });
    try {
      const headers = { 'x-registry-auth': Buffer.from(JSON.stringify(user)).toString('base64url') };
      const name = encodeURIComponent(`${home.local}/a/b`);
      await daemon.ask('POST', `/images/create?fromImage=${name}&tag=1`, { headers });
      await daemon.ask('POST', `/images/create?fromImage=${name}`, { headers });
      await daemon.ask('GET', `/distribution/${home.local}/a/b/json`, { headers });
      expect(home.heard()).toContain(basic);
      expectClean(mirror.heard());
    } finally {
      await daemon.stop();
    }
  });
});

describe('ADD of a URL with a password, or with a header that is a secret', () => {
  test.each([
    ['another port', (_: Party, stranger: Party) => `http://${stranger.local}/f`],
    ['another name', (_: Party, stranger: Party) => `http://${stranger.host}/f`],
  ])('a redirect to %s goes on without', async (_, to) => {
    const stranger = await party((_, response) => response.end('file'));
    const home: Party = await party(redirect(() => to(home, stranger)));
    const common = { signal: new AbortController().signal, report() {} };
    const url = `http://ann:pa55word@${home.local}/f`;
    await download(url, join(dir, `f-${stranger.local}`), { ...common, headers: {} });
    const headers = { authorization: 'token-of-ann' };
    await download(`http://${home.local}/f`, join(dir, `g-${stranger.local}`), { ...common, headers });
    expect(home.heard()).toContain(basic);
    expect(home.heard()).toContain('token-of-ann');
    expectClean(stranger.heard());
  });

  test('a redirect on the same server keeps them', async () => {
    const home = await party((request, response) => {
      if (request.url === '/f') redirect(() => '/g')(request, response);
      else response.end(request.headers.authorization);
    });
    const file = join(dir, 'kept');
    const common = { signal: new AbortController().signal, report() {}, headers: {} };
    await download(`http://ann:pa55word@${home.local}/f`, file, common);
    expect(readFileSync(file, 'utf8')).toBe(basic);
  });
});

describe('a git remote with a token', () => {
  let repository: string;
  beforeAll(() => {
    repository = mkdtempSync(join(dir, 'git-'));
    const git = (...args: string[]) =>
      execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', '-C', repository, ...args], {
        stdio: 'ignore',
      });
    git('init', '-b', 'main', 'work');
    git('-C', 'work', 'commit', '--allow-empty', '-m', 'one');
    git('clone', '--bare', 'work', 'app.git');
  });

  async function list(remote: string): Promise<string> {
    const git = await Git.open({ remote, authorization: basic }, dir, new AbortController().signal, () => {});
    try {
      const init = join(dir, `clone${Math.random()}`);
      await git.run(['init', '--quiet', '--bare', init]);
      await git.run(['--git-dir', init, 'fetch', '--quiet', '--', remote, 'main']);
      return await git.run(['ls-remote', '--', remote, 'main']);
    } finally {
      await git.close();
    }
  }

  test('that has moved to another host is fetched from there without it', async () => {
    const stranger = await party((request, response) => answerGit(request, response, repository));
    const home = await party(
      registry(
        basic,
        () => 'Basic',
        redirect((path) => `http://${stranger.local}/app.git${path.replace('/old', '')}`),
      ),
    );
    expect(await list(`http://${home.local}/old`)).toContain('refs/heads/main');
    expect(home.heard()).toContain(basic);
    expectClean(stranger.heard());
  });

  test('that has moved on its own host is fetched from there with it', async () => {
    const home = await party(
      registry(
        basic,
        () => 'Basic',
        (request, response) => {
          if (request.url?.startsWith('/old')) {
            redirect((path) => path.replace('/old', '/app.git'), 301)(request, response);
          } else answerGit(request, response, repository);
        },
      ),
    );
    expect(await list(`http://${home.local}/old`)).toContain('refs/heads/main');
  });

  test('that redirects to what is no repository is an error with a hint', async () => {
    const home = await party(redirect(() => '/elsewhere'));
    await expect(list(`http://${home.local}/old`)).rejects.toMatchObject({ code: 'denied' });
  });
});

test('an issuer’s keys are taken from itself, or over TLS', async () => {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const keys = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256' }] });
  const stranger = await party((_, response) => response.end(keys));
  const home: Party = await party((_, response) => {
    response.end(
      JSON.stringify({ issuer: `http://${home.local}`, jwks_uri: `http://${stranger.local}/keys` }),
    );
  });
  const issuer = `http://${home.local}`;
  const jwt = await new SignJWT({})
    .setProtectedHeader({ alg: 'ES256', kid: 'k' })
    .setIssuer(issuer)
    .setAudience('drydock')
    .setSubject('ann')
    .setExpirationTime('5m')
    .sign(privateKey);
  const checks = createOidcTokens([
    { issuer, audience: ['drydock'], algorithms: ['ES256'], clockSkewSeconds: 30 },
  ]);
  await expect(checks.check(jwt)).rejects.toMatchObject({ code: 'unavailable' });
  expect(stranger.heard()).toBe('');
});
