/** The registry client against a real registry, and against servers that misbehave in the ways registries do. */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { fetchBlobInto } from '../../src/distribution/fetch.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { mediaTypes } from '../../src/oci/types.ts';
import { parseChallenge } from '../../src/registry/auth.ts';
import type { HostCertificates } from '../../src/registry/certificates.ts';
import { RegistryClient } from '../../src/registry/client.ts';
import { openLocalStore } from '../../src/store/local/open.ts';
import { makeCerts } from '../kit/certs.ts';
import { baseImage, imageOf, putImage, type TestImage, tarOf } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';

let registry: TestRegistry;
const servers: Server[] = [];
const client = new RegistryClient({ userAgent: 'test/1', retries: 3, backoffMs: 5, idleMs: 2000 });
const image = imageOf([tarOf({ big: randomBytes(3 << 20) }), tarOf({ small: 'x' })]);
const [big, small] = image.layers as [TestImage['manifest'], TestImage['manifest']];

beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(() => registry.stop());
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

type Handler = (req: IncomingMessage, res: ServerResponse) => void;

/** A server on localhost; returns its host. */
async function serve(handler: Handler): Promise<string> {
  const server = createServer(handler);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Passes a request on to the real registry; `spoil` may cut the answer. */
function forward(req: IncomingMessage, res: ServerResponse, spoil?: (chunk: Buffer) => void): void {
  const url = `http://${registry.host}${req.url}`;
  const out = request(
    url,
    { method: req.method, headers: { ...req.headers, host: registry.host } },
    (answer) => {
      // Uploads go on where they began: here.
      const location = answer.headers.location?.replace(registry.host, req.headers.host ?? '');
      res.writeHead(answer.statusCode ?? 500, {
        ...answer.headers,
        ...(location === undefined ? {} : { location }),
      });
      answer.on('data', (chunk: Buffer) => {
        res.write(chunk);
        spoil?.(chunk);
      });
      answer.on('end', () => res.end());
    },
  );
  out.on('error', () => res.destroy());
  req.pipe(out);
}

async function sha(stream: Readable): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of stream) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}

describe('resolving', () => {
  test('a tag gives the descriptor, the digest the same one', async () => {
    const ref = await putImage(registry.host, 'team/app:1', image);
    expect(await client.resolve(ref)).toEqual(image.manifest);
    expect(await client.resolve(`${registry.host}/team/app@${image.manifest.digest}`)).toEqual(
      image.manifest,
    );
    expect((await client.manifest(ref)).bytes.equals(image.blobs.get(image.manifest.digest)!)).toBe(true);
  });

  test('what is not there: the error names registry, repository, status and the registry’s words', async () => {
    await putImage(registry.host, 'team/app:1', image);
    await expect(client.resolve(`${registry.host}/team/app:2`)).rejects.toMatchObject({
      code: 'not-found',
      hop: 'registry',
      message: expect.stringMatching(/team\/app:2.*404 \(MANIFEST_UNKNOWN: manifest unknown\).*team\/app/),
      details: { registry: registry.host, repository: `${registry.host}/team/app`, status: 404 },
    });
  });

  test('a manifest with another digest than asked for is refused', async () => {
    const host = await serve((_, res) => {
      res.setHeader('content-type', mediaTypes.ociManifest);
      res.end(JSON.stringify({ schemaVersion: 2, config: {}, layers: [] }));
    });
    await expect(client.manifest(`${host}/app@${image.manifest.digest}`)).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining(image.manifest.digest),
    });
  });

  test("docker's schema 1 and what is no manifest are told apart", async () => {
    let body = JSON.stringify({ schemaVersion: 1, name: 'app', fsLayers: [] });
    const host = await serve((_, res) => res.end(body));
    await expect(client.manifest(`${host}/app`)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('schema 1'),
    });
    body = '<html>captive portal</html>';
    await expect(client.manifest(`${host}/app`)).rejects.toMatchObject({ code: 'corrupt' });
  });

  test('a mirror is asked first, the registry itself when it fails', async () => {
    await putImage(registry.host, 'team/app:1', image);
    const asked: string[] = [];
    const mirror = await serve((req, res) => {
      asked.push(req.url ?? '');
      res.writeHead(503);
      res.end();
    });
    const mirrored = new RegistryClient({
      userAgent: 't',
      retries: 0,
      mirrors: { [registry.host]: [mirror] },
    });
    expect(await mirrored.resolve(`${registry.host}/team/app:1`)).toEqual(image.manifest);
    expect(asked).toContain(`/v2/team/app/manifests/1?ns=${encodeURIComponent(registry.host)}`);
  });

  test('a mirror may keep the images under a prefix; Docker Hub itself need not be reachable', async () => {
    await putImage(registry.host, 'hub/library/app:1', image);
    const mirrored = new RegistryClient({
      userAgent: 't',
      retries: 0,
      mirrors: { 'docker.io': [`http://${registry.host}/hub/`] },
    });
    expect(await mirrored.resolve('app:1')).toEqual(image.manifest);
    const { bytes } = await mirrored.manifest(`app@${image.manifest.digest}`);
    expect(digestOf(bytes)).toBe(image.manifest.digest);
    expect(await sha(await mirrored.blob('app:1', big))).toBe(big.digest);
  });

  test('a mirror that is no host is refused', () => {
    expect(
      () => new RegistryClient({ userAgent: 't', mirrors: { 'docker.io': ['https://user@host/'] } }),
    ).toThrow('the registry mirror "https://user@host/" is no host');
  });
});

describe('trouble on the way', () => {
  test.each([429, 500, 503])('status %d is tried again after Retry-After', async (status) => {
    let tries = 0;
    const host = await serve((req, res) => {
      if (req.url === '/v2/') return void res.end();
      if (++tries < 3) {
        res.writeHead(status, { 'retry-after': '0' });
        return void res.end();
      }
      forward(req, res);
    });
    await putImage(registry.host, 'team/app:1', image);
    expect(await client.resolve(`${host}/team/app:1`)).toEqual(image.manifest);
    expect(tries).toBe(3);
  });

  test('a registry that stays down is reported with its status, after the tries are used up', async () => {
    let tries = 0;
    const host = await serve((req, res) => {
      if (req.url !== '/v2/') tries++;
      res.writeHead(429);
      res.end(JSON.stringify({ errors: [{ code: 'TOOMANYREQUESTS', message: 'slow down' }] }));
    });
    await expect(client.manifest(`${host}/app:1`)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('429 (TOOMANYREQUESTS: slow down)'),
    });
    expect(tries).toBe(4);
  });

  test('403 is told at once, with a hint', async () => {
    const host = await serve((_, res) => {
      res.writeHead(403);
      res.end(JSON.stringify({ errors: [{ code: 'DENIED', message: 'token lacks\u001b[31m pull' }] }));
    });
    await expect(client.manifest(`${host}/app:1`)).rejects.toMatchObject({
      code: 'denied',
      // Nothing that a terminal would act on.
      message: expect.stringContaining('403 (DENIED: token lacks [31m pull)'),
      hint: expect.stringContaining('docker login'),
    });
  });

  test('nobody listening, and no such host', async () => {
    await expect(client.resolve('127.0.0.1:1/app')).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('connection refused'),
    });
  });

  test('a silent server is given up', async () => {
    const quick = new RegistryClient({ userAgent: 't', retries: 0, idleMs: 100 });
    const host = await serve(() => {});
    await expect(quick.resolve(`${host}/app`)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('timed out'),
    });
  });

  test('giving up ends a request at once', async () => {
    const host = await serve((req, res) => (req.url === '/v2/' ? void res.end() : undefined));
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 30);
    await expect(client.resolve(`${host}/app`, { signal: abort.signal })).rejects.toMatchObject({
      code: 'canceled',
    });
  });
});

describe('blobs', () => {
  test('a connection cut in the middle is taken up again with Range', async () => {
    await putImage(registry.host, 'team/app:1', image);
    const ranges: (string | undefined)[] = [];
    const host = await serve((req, res) => {
      if (!req.url?.includes('/blobs/')) return forward(req, res);
      ranges.push(req.headers.range);
      let sent = 0;
      forward(req, res, (chunk) => {
        sent += chunk.length;
        if (ranges.length < 3 && sent > 500_000) res.destroy();
      });
    });
    expect(await sha(await client.blob(`${host}/team/app`, big))).toBe(big.digest);
    expect(ranges[0]).toBeUndefined();
    expect(ranges[1]).toMatch(/^bytes=[1-9]\d*-$/);
    expect(ranges).toHaveLength(3);
  });

  test('a server without Range is read again and what is known is skipped', async () => {
    const data = image.blobs.get(big.digest)!;
    let tries = 0;
    const host = await serve((req, res) => {
      if (req.url === '/v2/') return void res.end();
      res.writeHead(200, { 'content-length': data.length });
      if (++tries === 1) res.write(data.subarray(0, 1 << 20), () => setTimeout(() => res.destroy(), 20));
      else res.end(data);
    });
    expect(await sha(await client.blob(`${host}/app`, big))).toBe(big.digest);
    expect(tries).toBe(2);
  });

  test('wrong bytes, too many bytes and too few are refused', async () => {
    let data = Buffer.from(image.blobs.get(small.digest)!);
    const host = await serve((_, res) => res.end(data));
    const get = async () => sha(await client.blob(`${host}/app`, small));
    data[5] = data[5]! ^ 1;
    await expect(get()).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining(small.digest),
    });
    data = Buffer.concat([data, Buffer.from('more')]);
    await expect(get()).rejects.toMatchObject({ code: 'corrupt' });
    data = data.subarray(0, 10);
    await expect(get()).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('what a broken pull left in the store is gone on from; a store never takes wrong bytes', async () => {
    await putImage(registry.host, 'team/app:1', image);
    const root = mkdtempSync(join(tmpdir(), 'drydock-fetch-'));
    const store = await openLocalStore(root);
    try {
      await store.leases.create('l');
      const ranges: (string | undefined)[] = [];
      let broken = true;
      const host = await serve((req, res) => {
        if (!req.url?.includes('/blobs/')) return forward(req, res);
        ranges.push(req.headers.range);
        let sent = 0;
        forward(req, res, (chunk) => {
          sent += chunk.length;
          if (broken && sent > 1_000_000) {
            res.destroy();
            req.socket.destroy();
          }
        });
      });
      const once = new RegistryClient({ userAgent: 't', retries: 0 });
      const source = `${host}/team/app`;
      await expect(fetchBlobInto(store, once, source, big, { lease: 'l' })).rejects.toMatchObject({
        code: 'unavailable',
      });
      broken = false;
      const seen: number[] = [];
      await fetchBlobInto(store, once, source, big, {
        lease: 'l',
        report: (_, { current }) => seen.push(current),
      });
      expect(ranges[1]).toMatch(/^bytes=[1-9]\d+-$/);
      expect(seen[0]).toBeGreaterThan(100_000);
      expect((await store.verify()).problems).toEqual([]);
      const lying = { ...small, digest: digestOf('something else') };
      const liar = await serve((_, res) => res.end(image.blobs.get(small.digest)));
      await expect(fetchBlobInto(store, once, `${liar}/app`, lying, { lease: 'l' })).rejects.toMatchObject({
        code: 'corrupt',
      });
      expect(await store.content.info(lying.digest)).toBeUndefined();
    } finally {
      await store.close();
      rmSync(root, { recursive: true, force: true });
    }
  });

  test('a redirect to another host gets no credentials', async () => {
    const seen: (string | undefined)[] = [];
    const bucket = await serve((req, res) => {
      seen.push(req.headers.authorization);
      res.end(image.blobs.get(small.digest));
    });
    const host = await serve((req, res) => {
      if (req.headers.authorization === undefined) {
        res.writeHead(401, { 'www-authenticate': 'Basic realm="x"' });
        return void res.end();
      }
      res.writeHead(307, { location: `http://${bucket}/signed` });
      res.end();
    });
    const credentials = async () => ({ username: 'u', password: 'secret' });
    expect(await sha(await client.blob(`${host}/app`, small, { credentials }))).toBe(small.digest);
    expect(seen).toEqual([undefined]);
  });
});

describe('pushing', () => {
  test('streams a blob, says when it is there, and mounts it from another repository', async () => {
    const data = randomBytes(2 << 20);
    const blob = { digest: digestOf(data), size: data.length };
    const open = async () =>
      Readable.from([data.subarray(0, 1 << 20), data.subarray(1 << 20)], { objectMode: false });
    const from = `${registry.host}/push/a:1`;
    const sent: number[] = [];
    expect(await client.pushBlob(from, blob, open, { onProgress: (n) => sent.push(n) })).toBe('pushed');
    expect(sent.at(-1)).toBe(blob.size);
    expect(await client.pushBlob(from, blob, open)).toBe('exists');
    const never = async () => {
      throw new Error('not asked for');
    };
    expect(await client.pushBlob(`${registry.host}/push/b:1`, blob, never, { mountFrom: from })).toBe(
      'mounted',
    );
    expect(await sha(await client.blob(`${registry.host}/push/b`, blob))).toBe(blob.digest);
  });

  test('an upload that breaks off is begun again', async () => {
    const data = randomBytes(1 << 20);
    const blob = { digest: digestOf(data), size: data.length };
    let puts = 0;
    const host = await serve((req, res) => {
      if (req.method === 'PUT' && ++puts < 3) return void setTimeout(() => req.socket.destroy(), 5);
      forward(req, res);
    });
    let opened = 0;
    const open = async () => {
      opened++;
      return Readable.from([data], { objectMode: false });
    };
    expect(await client.pushBlob(`${host}/push/again:1`, blob, open)).toBe('pushed');
    expect(opened).toBe(puts);
    expect(await client.hasBlob(`${registry.host}/push/again`, blob.digest)).toBe(true);
  });

  test('a source with other bytes than promised fails, and makes no blob', async () => {
    const blob = { digest: digestOf('four'), size: 4 };
    const open = async () => Readable.from([Buffer.from('five!')], { objectMode: false });
    await expect(client.pushBlob(`${registry.host}/push/bad:1`, blob, open)).rejects.toMatchObject({
      code: 'corrupt',
    });
    expect(await client.hasBlob(`${registry.host}/push/bad`, blob.digest)).toBe(false);
  });
});

describe('logging in', () => {
  const user = { username: 'ann', password: 'se:cret', refreshToken: 'refresh-me' };
  const base = baseImage();

  test('basic: without, with wrong and with right credentials', async () => {
    const closed = await startRegistry({ basic: user });
    try {
      const ref = await putImage(closed.host, 'app:1', base, user);
      const asked: string[] = [];
      const as = (username: string, password: string) => async (host: string) => {
        asked.push(host);
        return { username, password };
      };
      await expect(client.resolve(ref)).rejects.toMatchObject({
        code: 'unauthenticated',
        hint: expect.stringContaining(`docker login ${closed.host}`),
      });
      await expect(client.resolve(ref, { credentials: as('ann', 'wrong') })).rejects.toMatchObject({
        code: 'unauthenticated',
        hint: expect.stringContaining('did not take'),
      });
      expect(await client.resolve(ref, { credentials: as('ann', user.password) })).toEqual(base.manifest);
      expect(new Set(asked)).toEqual(new Set([closed.host]));
    } finally {
      await closed.stop();
    }
  });

  test('token: a scope per repository, one token for many requests, identity tokens, anonymous pulls', async () => {
    const closed = await startRegistry({ token: user });
    try {
      const ref = `${closed.host}/team/app:1`;
      const own = new RegistryClient({ userAgent: 't', backoffMs: 5 });
      const credentials = async () => user;
      for (const [digest, data] of base.blobs) {
        if (digest === base.manifest.digest) continue;
        await own.pushBlob(ref, { digest, size: data.length }, async () => data, { credentials });
      }
      await own.pushManifest(ref, base.manifest, base.blobs.get(base.manifest.digest)!, { credentials });
      expect(closed.tokenRequests).toHaveLength(1);
      expect(closed.tokenRequests[0]?.params.get('scope')).toBe('repository:team/app:pull,push');
      expect(closed.tokenRequests[0]?.params.get('service')).toBe('drydock-test');

      const identity = async () => ({ identityToken: 'refresh-me' });
      expect(await own.resolve(ref, { credentials: identity })).toEqual(base.manifest);
      expect(closed.tokenRequests[1]).toMatchObject({ method: 'POST' });
      expect(closed.tokenRequests[1]?.params.get('grant_type')).toBe('refresh_token');

      expect(await own.resolve(ref)).toEqual(base.manifest);
      const pushing = own.pushManifest(ref, base.manifest, base.blobs.get(base.manifest.digest)!);
      await expect(pushing).rejects.toMatchObject({ code: 'unauthenticated' });
      const wrong = async () => ({ username: 'ann', password: 'wrong' });
      await expect(own.resolve(ref, { credentials: wrong })).rejects.toMatchObject({
        code: 'unauthenticated',
        message: expect.stringContaining('UNAUTHORIZED: wrong user or password'),
      });
    } finally {
      await closed.stop();
    }
  });

  test('challenges as registries write them', () => {
    expect(parseChallenge('Bearer realm="https://a/token",service="s, t",scope="repository:x:pull"')).toEqual(
      {
        scheme: 'bearer',
        realm: 'https://a/token',
        service: 's, t',
        scope: 'repository:x:pull',
      },
    );
    expect(parseChallenge('Basic realm="x", Bearer realm="https://b"')).toMatchObject({
      scheme: 'bearer',
      realm: 'https://b',
    });
    expect(parseChallenge('basic')).toEqual({ scheme: 'basic' });
    expect(parseChallenge('Negotiate')).toBeUndefined();
  });
});

describe('TLS', () => {
  test('a certificate nobody vouches for is refused with a hint, and taken from a host named insecure', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'drydock-tls-'));
    try {
      const command =
        'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=drydock-test';
      execFileSync('openssl', [...command.split(' '), '-keyout', `${dir}/key`, '-out', `${dir}/cert`], {
        stdio: 'ignore',
      });
      const tls = createTlsServer(
        { key: readFileSync(`${dir}/key`), cert: readFileSync(`${dir}/cert`) },
        (req, res) => forward(req, res),
      );
      servers.push(tls);
      await new Promise<void>((resolve) => tls.listen(0, '127.0.0.1', resolve));
      const host = `127.0.0.1:${(tls.address() as AddressInfo).port}`;
      await putImage(registry.host, 'team/app:1', image);
      await expect(client.resolve(`${host}/team/app:1`)).rejects.toMatchObject({
        code: 'unavailable',
        hint: expect.stringContaining('--insecure-registry'),
      });
      const trusting = new RegistryClient({ userAgent: 't', retries: 0, insecure: [host] });
      expect(await trusting.resolve(`${host}/team/app:1`)).toEqual(image.manifest);
      // A host named insecure may as well speak plain HTTP.
      const plain = new RegistryClient({ userAgent: 't', retries: 0, insecure: [registry.host] });
      expect(await plain.resolve(`${registry.host}/team/app:1`)).toEqual(image.manifest);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });

  test('a CA and a client certificate may be given for one host', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'drydock-tls-'));
    try {
      const certs = makeCerts(dir);
      const server = certs.issue('registry', 'IP:127.0.0.1');
      const ours = certs.issue('drydock');
      const tls = createTlsServer(
        {
          key: readFileSync(server.key),
          cert: readFileSync(server.cert),
          ca: readFileSync(certs.ca),
          requestCert: true,
          rejectUnauthorized: true,
        },
        (req, res) => forward(req, res),
      );
      servers.push(tls);
      await new Promise<void>((resolve) => tls.listen(0, '127.0.0.1', resolve));
      const host = `127.0.0.1:${(tls.address() as AddressInfo).port}`;
      await putImage(registry.host, 'team/app:1', image);
      const knowing = (certificates: HostCertificates) =>
        new RegistryClient({ userAgent: 't', retries: 0, certificates: { [host]: certificates } });
      const ref = `${host}/team/app:1`;
      expect(await knowing({ ca: [certs.ca], keypairs: [ours] }).resolve(ref)).toEqual(image.manifest);
      await expect(knowing({ ca: [certs.ca] }).resolve(ref)).rejects.toMatchObject({ code: 'unavailable' });
      await expect(knowing({ ca: [`${dir}/none.pem`] }).resolve(ref)).rejects.toThrow(
        'none.pem cannot be read (ENOENT)',
      );
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
