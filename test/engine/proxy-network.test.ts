/** Builds whose steps reach the network by a proxy: what gets out, what is noted, and authorities that steps trust. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { openEngine } from '../../src/engine/engine.ts';
import { build, type DockerfileOptions } from '../../src/sdk/build.ts';
import { prune } from '../../src/upkeep/disk-usage.ts';
import { closePool } from '../../src/workers/pool.ts';
import { Builds } from '../kit/builds.ts';
import { makeCerts } from '../kit/certs.ts';

const builds = new Builds();
let server: Server;
let port: number;
beforeAll(async () => {
  await builds.open();
  server = createServer(({ url }, response) => {
    if (url === '/missing') response.statusCode = 404;
    response.end(`content of ${url}`);
  });
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
  port = (server.address() as AddressInfo).port;
});
afterAll(async () => {
  server.close();
  await builds.close();
  await closePool();
});

interface Provenance {
  buildDefinition: { resolvedDependencies?: { uri: string; digest: Record<string, string> }[] };
  runDetails: {
    metadata: { buildkit_hermetic?: boolean; buildkit_metadata: { network?: unknown } };
  };
}

/** Builds files by a proxy, and reads them with their provenance. */
async function proxied(steps: string, options: Partial<DockerfileOptions> = {}) {
  const dir = mkdtempSync(join(builds.dir, 'out-'));
  let logs = '';
  await build({
    context: builds.dir,
    dockerfileText: `FROM base AS made\n${steps}\nFROM scratch\nCOPY --from=made /tmp /\n`,
    engine: builds.engine,
    proxyNetwork: true,
    provenance: true,
    extraHosts: { 'files.example': 'host-gateway' },
    outputs: [{ type: 'local', attrs: {}, sink: { files: dir } }],
    progress: {
      log: ({ data }) => {
        logs += data.toString();
      },
    },
    ...options,
  });
  const { predicate } = JSON.parse(readFileSync(join(dir, 'provenance.json'), 'utf8')) as {
    predicate: Provenance;
  };
  const { runDetails, buildDefinition } = predicate;
  return {
    read: (name: string) => readFileSync(join(dir, name), 'utf8'),
    logs,
    isHermetic: runDetails.metadata.buildkit_hermetic ?? false,
    network: runDetails.metadata.buildkit_metadata.network,
    materials: (buildDefinition.resolvedDependencies ?? []).filter(({ uri }) => uri.startsWith('http')),
  };
}

test('what a step gets is material of the result, and a build of such steps is hermetic', async () => {
  const url = `http://files.example:${port}/data`;
  const { read, logs, ...found } = await proxied(`RUN wget -q -O /tmp/data ${url}`);
  expect(read('data')).toBe('content of /data');
  expect(logs).toContain(`proxy network requests:\n- GET ${url} -> 200\n`);
  expect(found).toEqual({
    isHermetic: true,
    network: { mode: 'proxy' },
    materials: [
      { uri: url, digest: { sha256: createHash('sha256').update('content of /data').digest('hex') } },
    ],
  });
});

test('a step that was cached tells what it asked for when it ran; it is another one than without a proxy', async () => {
  const url = `http://files.example:${port}/again`;
  const step = `RUN wget -q -O /tmp/again ${url}; wget -q ${url.replace('again', 'missing')} || true`;
  const { logs: _, read: __, ...first } = await proxied(step);
  expect(first.materials).toHaveLength(1);
  const network = {
    mode: 'proxy',
    proxy: { incomplete: [{ method: 'GET', reason: 'unsuccessful_response' }] },
  };
  expect(first).toMatchObject({ isHermetic: false, network });
  expect(await proxied(step)).toMatchObject(first);
  // Its own result is not needed here: the step after it is cached as well.
  const chain = `RUN wget -q -O /tmp/chained ${url}\nRUN cat /tmp/chained >/tmp/copy`;
  for (let i = 0; i < 2; i++) {
    expect(await proxied(chain)).toMatchObject({ isHermetic: true, materials: first.materials });
  }
  const plain = await proxied(step, { proxyNetwork: false });
  expect(plain.logs).not.toContain('proxy network requests');
  expect(plain).toMatchObject({ isHermetic: false, network: undefined, materials: [] });
});

test('a step from a cache elsewhere is said to be unknown', async () => {
  const step = `RUN wget -q -O /tmp/far http://files.example:${port}/far`;
  const src = mkdtempSync(join(builds.dir, 'cache-'));
  await proxied(step, { cacheTo: [{ type: 'local', attrs: { dest: src, mode: 'max' } }] });
  await prune(builds.engine, { all: true });
  const cacheFrom = [{ type: 'local', attrs: { src } }];
  const { isHermetic, network, logs } = await proxied(step, { cacheFrom });
  expect(logs).toBe('');
  expect(isHermetic).toBe(false);
  expect(network).toMatchObject({ mode: 'proxy', proxy: { incomplete: [{ reason: 'cached' }] } });
});

test.each(['the builder’s', 'the step’s'])(
  'a proxy of the network around, %s, is asked in its turn',
  async (whose) => {
    const asked: string[] = [];
    const company = createServer(({ url }, response) => {
      asked.push(url ?? '');
      response.end(`by the company’s proxy: ${url}`);
    });
    await new Promise<void>((resolve) => company.listen(0, '0.0.0.0', resolve));
    const at = (company.address() as AddressInfo).port;
    const url = `http://nowhere.example/${whose.length}`;
    // The step reaches this host by the address that the build gives it alone.
    const buildArgs: Record<string, string> =
      whose === 'the step’s' ? { HTTP_PROXY: `http://files.example:${at}` } : {};
    if (whose === 'the builder’s') vi.stubEnv('http_proxy', `http://127.0.0.1:${at}`);
    try {
      const { read, materials, isHermetic } = await proxied(`RUN wget -q -O /tmp/data ${url}`, { buildArgs });
      expect(read('data')).toBe(`by the company’s proxy: ${url}`);
      expect(asked).toEqual([url]);
      expect(materials.map(({ uri }) => uri)).toEqual([url]);
      expect(isHermetic).toBe(true);
    } finally {
      vi.unstubAllEnvs();
      company.close();
    }
  },
);

test('nothing else gets out: no address, no name, not this host', async () => {
  const own = Object.values(networkInterfaces())
    .flat()
    .find((each) => each?.family === 'IPv4' && !each.internal)?.address;
  const { read, isHermetic } = await proxied(
    `RUN ls /sys/class/net > /tmp/links; (env -i wget -q -O - http://${own}:${port}/ || echo no) > /tmp/direct; \\
     (NO_PROXY= no_proxy= wget -O - http://127.0.0.1:${port}/ 2>&1 || true) > /tmp/loopback; \\
     (busybox nslookup files.invalid 8.8.8.8 2>&1 || true) | tail -1 > /tmp/name`,
  );
  expect(read('links')).toBe('lo\n');
  expect(read('direct')).toBe('no\n');
  expect(read('loopback')).toContain('502 Bad Gateway');
  expect(isHermetic).toBe(false); // the refusal is no content
});

test('RUN --network=none has no proxy, and --network=host asks in the host’s network', async () => {
  const { read } = await proxied(
    `RUN --network=none env > /tmp/none
RUN --network=host NO_PROXY= no_proxy= wget -q -O /tmp/host http://127.0.0.1:${port}/there`,
    { allow: ['network.host'] },
  );
  expect(read('none')).not.toMatch(/proxy/i);
  expect(read('host')).toBe('content of /there');
  await expect(proxied('RUN --network=host true')).rejects.toMatchObject({ code: 'denied' });
});

describe('authorities that an operator adds', () => {
  test('are trusted by the programs of steps, and are in no image', async () => {
    const added = readFileSync(makeCerts(builds.dir, 'company').ca, 'utf8');
    const engine = await openEngine({ root: join(builds.dir, 'root'), trusted: [added] });
    const dir = mkdtempSync(join(builds.dir, 'out-'));
    try {
      await build({
        context: builds.dir,
        dockerfileText: `FROM base
RUN mkdir -p /etc/ssl/certs && echo "the image's own" > /etc/ssl/certs/ca-certificates.crt
RUN cat "$SSL_CERT_FILE" > /tmp/all; cat "$NODE_EXTRA_CA_CERTS" > /tmp/added; ls /dev/drydock > /tmp/files
ENV CURL_CA_BUNDLE=/mine
RUN echo "$CURL_CA_BUNDLE" > /tmp/curl
`,
        engine,
        tags: ['trusting'],
        outputs: [{ type: 'local', attrs: {}, sink: { files: dir } }],
      });
    } finally {
      await engine.close();
    }
    const read = (name: string) => readFileSync(join(dir, name), 'utf8');
    expect(read('tmp/all')).toBe(`the image's own\n${added.trim()}\n`);
    expect(read('tmp/added')).toBe(`${added.trim()}\n`);
    expect(read('tmp/files').split('\n')).toContain('apt.conf');
    // What the image says of itself holds.
    expect(read('tmp/curl')).toBe('/mine\n');
    expect(read('etc/ssl/certs/ca-certificates.crt')).toBe("the image's own\n");
    expect(() => read('dev/drydock/apt.conf')).toThrow('ENOENT');
  });
});
