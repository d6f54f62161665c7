/** Builds whose steps reach the network by a proxy: what gets out, what is noted, and authorities that steps trust. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openEngine } from '../../src/engine/engine.ts';
import { build, type DockerfileOptions } from '../../src/sdk/build.ts';
import { closePool } from '../../src/workers/pool.ts';
import { Builds } from '../kit/builds.ts';
import { makeCerts } from '../kit/certs.ts';

const builds = new Builds();
let server: Server;
let port: number;
beforeAll(async () => {
  await builds.open();
  server = createServer((request, response) => response.end(`content of ${request.url}`));
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

test('a step that was cached is said to be unknown; it is another one than without a proxy', async () => {
  const step = `RUN wget -q -O /tmp/again http://files.example:${port}/again`;
  await proxied(step);
  const { isHermetic, network } = await proxied(step);
  expect(isHermetic).toBe(false);
  expect(network).toMatchObject({ mode: 'proxy', proxy: { incomplete: [{ reason: 'cached' }] } });
  const plain = await proxied(step, { proxyNetwork: false });
  expect(plain.logs).not.toContain('proxy network requests');
  expect(plain).toMatchObject({ isHermetic: false, network: undefined, materials: [] });
});

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
