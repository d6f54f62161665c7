/**
 * `drydock buildkitd`, as somebody who may reach its listeners: by TLS, by TCP of this machine, from a web page; and as
 * somebody who may build and wants more for it than the daemon grants.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect, type SecureClientSessionOptions } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { buildkitdSetup } from '../../src/daemon/buildkitd.ts';
import type { BuildkitdConfig } from '../../src/daemon/buildkitd-config.ts';
import { marshal, mkfile, scratch } from '../../src/llb/llb.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { type Definition, OpSchema } from '../../src/pb/solver/pb/ops_pb.js';
import { makeCerts } from '../kit/certs.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { callOn, solveRaw } from '../kit/raw-grpc.ts';

/** A daemon as the command starts it with these settings, which listens on a socket of its own besides. */
async function startBuildkitd(config: BuildkitdConfig): Promise<TestDaemon> {
  const { daemon, buildkit } = buildkitdSetup(config, {}, '/unused');
  const { root: _, ...rest } = daemon;
  return startTestDaemon({
    ...rest,
    hosts: config.addresses ?? [],
    grpc: (host) => buildkitApi(host, buildkit),
  });
}

const host = scratch().run('true', { network: 'host' }).root();
const insecure = scratch().run('true', { security: 'insecure' }).root();

/** A definition inside of a definition. */
function nested(definition: Definition): Pick<Definition, 'def'> {
  const build = toBinary(
    OpSchema,
    create(OpSchema, { op: { case: 'build', value: { builder: -1n, def: definition } } }),
  );
  const last = create(OpSchema, { inputs: [{ digest: digestOf(build), index: 0n }] });
  return { def: [build, toBinary(OpSchema, last)] };
}

function dockerfile(text: string) {
  const files = marshal(scratch().file(mkfile('/Dockerfile', text)));
  return { Frontend: 'dockerfile.v0', FrontendInputs: { context: files, dockerfile: files } };
}

describe('more than the daemon grants', () => {
  let daemon: TestDaemon;
  beforeAll(async () => {
    daemon = await startBuildkitd({ entitlements: ['network.host'] });
  });
  afterAll(() => daemon.stop());
  const solve = (request: Parameters<typeof solveRaw>[1]) => solveRaw(daemon.socket, request);

  test.each<[string, Parameters<typeof solveRaw>[1], string]>([
    ['a step', { Definition: marshal(insecure) }, 'security.insecure'],
    ['a step of the network that it did not ask for', { Definition: marshal(host) }, 'network.host'],
    ['a build in a build', { Definition: nested(marshal(insecure)) }, 'security.insecure'],
    ['a Dockerfile', dockerfile('FROM scratch\nRUN --security=insecure true\n'), 'security.insecure'],
  ])('%s', async (_, request, name) => {
    expect(await solve(request)).toContain(`entitlement ${name} is not allowed`);
  });

  test.each(['security.insecure', 'device', 'network.host,security.insecure', 'NETWORK.HOST', '*', ''])(
    'a build that asks for %j',
    async (name) => {
      const said = await solve({ Definition: marshal(insecure), Entitlements: [name] });
      expect(said).not.toMatch(/^0 /);
      expect(said).toMatch(/entitlement/);
    },
  );

  test('what it grants is for builds that ask for it', async () => {
    // There is nothing to run: the step comes as far as that.
    const said = await solve({ Definition: marshal(host), Entitlements: ['network.host'] });
    expect(said).not.toContain('entitlement');
  });
});

describe('its listeners', () => {
  const reach = (daemon: TestDaemon, options: SecureClientSessionOptions) =>
    new Promise<string>((resolve) => {
      const address = daemon.addresses.find((each) => each.startsWith('tcp://')) ?? '';
      const client = connect(address.replace('tcp:', options.ca ? 'https:' : 'http:'), options);
      client.on('error', (err) => resolve(`error ${String(err)}`));
      callOn(client, '/moby.buildkit.v1.Control/ListWorkers', Buffer.alloc(0)).then(
        (said) => {
          client.close();
          resolve(said);
        },
        (err) => resolve(`error ${String(err)}`),
      );
    });

  test('with TLS, a connection without a certificate of its CA ends at the handshake', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'drydock-certs-'));
    const own = makeCerts(dir, 'own');
    const other = makeCerts(dir, 'other');
    const daemon = await startBuildkitd({
      addresses: ['tcp://127.0.0.1:0'],
      tls: { ...own.issue('server', 'IP:127.0.0.1'), ca: own.ca },
    });
    const read = ({ cert, key }: { cert: string; key: string }) => ({
      cert: readFileSync(cert),
      key: readFileSync(key),
    });
    const ca = readFileSync(own.ca);
    try {
      // The handshake ends it, before or while the call is sent.
      const cut = /^(error |$)/;
      expect(await reach(daemon, { ca })).toMatch(cut);
      expect(await reach(daemon, { ca, ...read(other.issue('client')) })).toMatch(cut);
      // Who it is decides the policy: without one, nobody may do anything over TLS.
      expect(await reach(daemon, { ca, ...read(own.issue('client')) })).toMatch(/^7 .*CN=client/);
    } finally {
      await daemon.stop();
      rmSync(dir, { recursive: true, force: true });
    }
  });

  test.each(['tcp://0.0.0.0:0', 'tcp://:0'])(
    'TCP without TLS is not opened to others: %s',
    async (address) => {
      await expect(startBuildkitd({ addresses: [address] })).rejects.toThrow('for this machine alone');
    },
  );

  test('nothing listens at the address for debugging, and a web page gets at nothing', async () => {
    const daemon = await startBuildkitd({ addresses: ['tcp://127.0.0.1:0'] });
    try {
      expect(await reach(daemon, {})).toBe('0 ');
      const { port } = new URL(daemon.addresses.find((each) => each.startsWith('tcp://')) ?? '');
      const ask = (method: string, path: string, headers: Record<string, string>) =>
        new Promise<number>((resolve, reject) => {
          const sent = httpRequest({ host: '127.0.0.1', port, method, path, headers }, (answer) => {
            answer.resume();
            resolve(answer.statusCode ?? 0);
          });
          sent.on('upgrade', (_, socket) => {
            socket.destroy();
            resolve(101);
          });
          sent.on('error', reject);
          sent.end();
        });
      const own = `127.0.0.1:${port}`;
      const upgrade = { connection: 'Upgrade', upgrade: 'h2c' };
      for (const path of ['/debug/pprof/', '/debug/requests', '/debug/vars', '/debug/gc'])
        expect(await ask('GET', path, { host: own })).toBe(404);
      const strange: Record<string, string>[] = [
        { host: own, origin: 'http://evil.example' },
        { host: own, origin: 'null' },
        { host: 'evil.example' },
        { host: `evil.example:${port}` },
      ];
      for (const headers of strange) {
        expect(await ask('POST', '/build', headers)).toBe(403);
        expect(await ask('GET', '/images/json', headers)).toBe(403);
        expect(await ask('POST', '/session', { ...headers, ...upgrade })).toBe(403);
        expect(await ask('POST', '/grpc', { ...headers, ...upgrade })).toBe(403);
        expect(await ask('POST', '/moby.buildkit.v1.Control/Prune', headers)).toBe(404);
      }
    } finally {
      await daemon.stop();
    }
  });
});
