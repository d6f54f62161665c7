/** `hosts.toml`: which servers have a registry's repositories. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, expect, test } from 'vitest';
import { digestOf, mediaTypes } from '../../src/oci/index.ts';
import { parseHostsFile } from '../../src/registry/hosts-file.ts';
import { hostsFolders } from '../../src/registry/hosts-folder.ts';
import { RegistryClient } from '../../src/registry/index.ts';
import { makeCerts } from '../kit/certs.ts';

const dir = mkdtempSync(join(tmpdir(), 'drydock-hosts-'));
const servers: { close(): unknown }[] = [];
afterAll(() => {
  for (const server of servers) server.close();
  rmSync(dir, { recursive: true, force: true });
});

const read = (text: string, domain = 'reg.example') =>
  parseHostsFile(text, '/d/reg.example/hosts.toml', domain);

test('mirrors come first, the registry last; paths, headers and certificates', () => {
  const text = `
server = "https://reg.example"
ca = "own.pem"
[host."https://mirror.example:5000/team/"]
  capabilities = ["pull", "resolve"]
  ca = ["a.pem", "/b.pem"]
  client = [["c.cert", "c.key"], ["both.pem", ""]]
  skip_verify = true
  [host."https://mirror.example:5000/team/".header]
    X-Custom = ["1", "2"]
[host."http://127.0.0.1:5001/api"]
  override_path = true
[host."localhost:5002/v2"]
`;
  const all = ['pull', 'resolve', 'push'];
  const plain = { capabilities: all, headers: {}, certificates: { ca: [], keypairs: [] }, skipVerify: false };
  expect(read(text)).toEqual([
    {
      name: 'https://mirror.example:5000/team',
      origin: 'https://mirror.example:5000',
      base: '/team/v2',
      capabilities: ['pull', 'resolve'],
      headers: { 'x-custom': '1, 2' },
      certificates: {
        ca: ['/d/reg.example/a.pem', '/b.pem'],
        keypairs: [
          { cert: '/d/reg.example/c.cert', key: '/d/reg.example/c.key' },
          { cert: '/d/reg.example/both.pem', key: '/d/reg.example/both.pem' },
        ],
      },
      skipVerify: true,
    },
    { ...plain, name: 'http://127.0.0.1:5001/api', origin: 'http://127.0.0.1:5001', base: '/api' },
    { ...plain, name: 'http://localhost:5002/v2', origin: 'http://localhost:5002', base: '/v2' },
    {
      ...plain,
      name: 'https://reg.example',
      origin: 'https://reg.example',
      base: '/v2',
      certificates: { ca: ['/d/reg.example/own.pem'], keypairs: [] },
    },
  ]);
  expect(read('', 'docker.io')).toMatchObject([{ origin: 'https://registry-1.docker.io', base: '/v2' }]);
});

test.each([
  ['server = 1', 'server must be a URL'],
  ['servers = "x"', 'there is no setting servers'],
  ['[host."https://a"]\nca = 1', 'host."https://a".ca must be a text'],
  ['[host."https://a"]\nserver = "b"', 'there is no setting host."https://a".server'],
  ['[host."https://a"]\ncapabilities = ["fly"]', 'capabilities must be a list of pull, resolve, push'],
  ['[host."https://u:p@a"]', 'no URL of a server'],
  ['[host."https://:p@a"]', 'no URL of a server'],
  ['server = "ftp://a"', 'no URL of a server'],
  ['[host."unix:///run/registry.sock"]', 'no URL of a server'],
  ['[host."https://a"]\nclient = [["a", "b", "c"]]', 'pairs of a certificate'],
  ['[host."https://a".header]\nx = "1\\r\\ny: 2"', 'a header of HTTP'],
  ['[host."https://a"]\ndial_timeout = "1s"', 'dial_timeout is not supported'],
  ['host = [', 'no TOML'],
])('%s is refused', (text, why) => {
  expect(() => read(text)).toThrow(why);
});

test('the folders are containerd’s and docker’s, or those that a variable names', () => {
  expect(hostsFolders({})).toEqual(['/etc/containerd/certs.d', '/etc/docker/certs.d']);
  expect(hostsFolders({ DRYDOCK_REGISTRY_CONFIG_PATH: '/a:/b' })).toEqual(['/a', '/b']);
});

const manifest = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociConfig, digest: digestOf(Buffer.from('{}')), size: 2 },
    layers: [],
  }),
);

async function listening(
  server: ReturnType<typeof createServer> | ReturnType<typeof createHttp>,
): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

function client(domain: string, text: string): RegistryClient {
  const folder = mkdtempSync(join(dir, 'certs-'));
  mkdirSync(join(folder, domain));
  writeFileSync(join(folder, domain, 'hosts.toml'), text);
  const made = new RegistryClient({ userAgent: 't', retries: 0, hostsFolders: [folder] });
  servers.push(made);
  return made;
}

test('a mirror with its own CA, client certificate, path and headers is asked; what it lacks, the registry', async () => {
  const certs = makeCerts(dir);
  const [own, ours] = [certs.issue('mirror', 'IP:127.0.0.1'), certs.issue('us')];
  const asked: string[] = [];
  const answer = (name: string, has: string) => (req: IncomingMessage, res: ServerResponse) => {
    const who = (req.socket as TLSSocket).getPeerCertificate?.()?.subject?.CN ?? '';
    asked.push(`${name} ${req.method} ${req.url} ${req.headers['x-key'] ?? ''} ${who}`);
    if (!req.url?.includes(has)) return void res.writeHead(404).end();
    res.writeHead(200, { 'content-type': mediaTypes.ociManifest, 'content-length': manifest.length });
    res.end(req.method === 'HEAD' ? undefined : manifest);
  };
  const tls = { key: readFileSync(own.key), cert: readFileSync(own.cert), ca: readFileSync(certs.ca) };
  const mirror = await listening(
    createServer({ ...tls, requestCert: true, rejectUnauthorized: true }, answer('mirror', '/app/')),
  );
  const registry = await listening(createHttp(answer('registry', '/')));
  const made = client(
    'reg.example',
    `server = "http://127.0.0.1:${registry}"
[host."https://127.0.0.1:${mirror}/proxy"]
capabilities = ["resolve", "pull"]
override_path = true
ca = "${certs.ca}"
client = [["${ours.cert}", "${ours.key}"]]
[host."https://127.0.0.1:${mirror}/proxy".header]
X-Key = "secret"
`,
  );
  const { descriptor } = await made.manifest('reg.example/team/app:1');
  expect(descriptor.digest).toBe(digestOf(manifest));
  expect(asked.splice(0)).toEqual(['mirror GET /proxy/team/app/manifests/1?ns=reg.example secret us']);
  await made.manifest('reg.example/team/other:1');
  expect(asked.splice(0)).toEqual([
    'mirror GET /proxy/team/other/manifests/1?ns=reg.example secret us',
    'registry GET /v2/team/other/manifests/1?ns=reg.example  ',
  ]);
  // Nothing is written to what may not be pushed to.
  await made.pushManifest('reg.example/team/app:2', descriptor, manifest).catch(() => {});
  expect(asked.splice(0)).toEqual(['registry PUT /v2/team/app/manifests/2  ']);
});

test('a redirect elsewhere gets no header of the mirror’s', async () => {
  const seen: (string | string[] | undefined)[] = [];
  const elsewhere = await listening(
    createHttp((req, res) => {
      seen.push(req.headers['x-key']);
      res.writeHead(200, { 'content-type': mediaTypes.ociManifest }).end(manifest);
    }),
  );
  const mirror = await listening(
    createHttp((req, res) => {
      seen.push(req.headers['x-key']);
      res.writeHead(307, { location: `http://localhost:${elsewhere}/m` }).end();
    }),
  );
  const text = `[host."http://127.0.0.1:${mirror}"]\n[host."http://127.0.0.1:${mirror}".header]\nx-key = "secret"\n`;
  await client('reg.example', text).manifest('reg.example/app:1');
  expect(seen).toEqual(['secret', undefined]);
});

test('a server of which nothing may be asked is told by the file; a broken file names itself', async () => {
  const none = client('reg.example', 'capabilities = ["pull"]\n');
  await expect(none.resolve('reg.example/app:1')).rejects.toThrow(
    'may be asked to resolve, says its hosts.toml',
  );
  await expect(client('_default', 'x = 1').resolve('reg.example/app:1')).rejects.toThrow(
    /_default\/hosts.toml: there is no setting x/,
  );
});

test('an account is tried at the server that stands for the registry, with its certificate, headers and path', async () => {
  const certs = makeCerts(dir, 'login');
  const issued = certs.issue('server', 'IP:127.0.0.1');
  const asked: (string | undefined)[] = [];
  const server = createServer(
    { cert: readFileSync(issued.cert), key: readFileSync(issued.key) },
    (request, response) => {
      asked.push(request.url, String(request.headers['x-team']));
      const right = request.headers.authorization === `Basic ${Buffer.from('me:right').toString('base64')}`;
      response.writeHead(right ? 200 : 401, right ? {} : { 'www-authenticate': 'Basic realm="x"' }).end();
    },
  );
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const folder = join(dir, 'login-hosts');
  for (const name of ['reg.example', 'docker.io']) {
    mkdirSync(join(folder, name), { recursive: true });
    writeFileSync(
      join(folder, name, 'hosts.toml'),
      `server = "${origin}/own"\nca = "${certs.ca}"\n[header]\nx-team = "build"\n[host."https://127.0.0.1:1"]\n`,
    );
  }
  const client = new RegistryClient({ userAgent: 'test', hostsFolders: [folder] });
  try {
    for (const host of ['reg.example', 'registry-1.docker.io']) {
      await client.login(host, { username: 'me', password: 'right' });
      await expect(client.login(host, { username: 'me', password: 'wrong' })).rejects.toMatchObject({
        code: 'unauthenticated',
        message: expect.stringContaining(`logging in to ${host}`),
      });
    }
    expect(new Set(asked)).toEqual(new Set(['/own/v2/', 'build']));
  } finally {
    client.close();
  }
});

test('a server without TLS that refuses us is told as itself, not as a place we were sent to', async () => {
  const server = createHttp((_, response) => {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const folder = join(dir, 'plain-hosts');
  mkdirSync(join(folder, 'reg.example'), { recursive: true });
  writeFileSync(join(folder, 'reg.example', 'hosts.toml'), `server = "${origin}"\n`);
  const client = new RegistryClient({ userAgent: 'test', hostsFolders: [folder] });
  try {
    await expect(client.resolve('reg.example/app:1')).rejects.toMatchObject({
      code: 'unauthenticated',
      message: expect.stringContaining(`the registry ${origin} answered 401`),
    });
  } finally {
    client.close();
  }
});
