/**
 * The life of the pods of packaging/kubernetes in real containers, each with a network namespace, a disk and an address of
 * its own, behind the Service: start, probes, drain, a node that fails, and a new pod on an empty disk with a warm shared
 * cache.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { makeCerts } from '../kit/certs.ts';
import { Cli, type Output } from '../kit/cli.ts';
import { startDockerd, type TestDockerd } from '../kit/dockerd.ts';
import { type Node, startNode } from '../kit/kube/node.ts';
import { kubeTools, renderedChart } from '../kit/kube-manifests.ts';
import { ownImage } from '../kit/own-image.ts';

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

describe.skipIf(!kubeTools)('pods in containers', () => {
  let cli: Cli;
  let dockerd: TestDockerd;
  let node: Node;
  /** Steps of builds ask it, and run until they are answered. */
  const asked: ServerResponse[] = [];
  const gate = createServer((_, response) => void asked.push(response));

  beforeAll(async () => {
    cli = new Cli();
    dockerd = await startDockerd();
    const archive = await ownImage(cli, 'drydock:rootless', 'rootless');
    await promisify(execFile)('/usr/bin/docker', ['-H', dockerd.host, 'load', '-q', '-i', archive]);
    node = await startNode(dockerd, 1234);
    gate.listen(0, node.gateway);
    await once(gate, 'listening');
  });
  afterAll(async () => {
    gate.closeAllConnections();
    gate.close();
    await node?.stop();
    await dockerd?.stop();
    cli?.close();
  });

  /** The StatefulSet's template, and what its ConfigMap and its secret have. */
  function manifests() {
    const all = renderedChart('sharedCache.place=dir:/shared', 'drainSeconds=100');
    const of = (kind: string) => all.find((each) => each.kind === kind);
    const certs = makeCerts(cli.dir);
    const server = certs.issue('drydock.builds.svc', 'DNS:drydock.builds.svc,IP:127.0.0.1');
    const client = certs.issue('drydock-client');
    const read = (file: string) => readFileSync(file, 'utf8');
    const folder = join(cli.dir, 'client');
    mkdirSync(folder);
    for (const [from, to] of [
      [certs.ca, 'ca.pem'],
      [client.cert, 'cert.pem'],
      [client.key, 'key.pem'],
    ] as const)
      copyFileSync(from, join(folder, to));
    return {
      template: of('StatefulSet')?.spec.template,
      settings: of('ConfigMap')?.data as Record<string, string>,
      certs: { 'tls.crt': read(server.cert), 'tls.key': read(server.key), 'ca.crt': read(certs.ca) },
      client: folder,
    };
  }

  test('start, drain, an empty disk with a warm shared cache, a node that fails, and its disk again', async () => {
    const { template, settings, certs, client } = manifests();
    const folder = (name: string) => {
      const path = join(dockerd.dir, 'disks', name);
      mkdirSync(path, { recursive: true });
      return path;
    };
    const cache = folder('shared');
    chmodSync(cache, 0o777);
    const pod = (name: string, disk: string) =>
      node.start(
        name,
        template,
        { settings, certs, state: { folder: folder(disk) } },
        { shared: { [cache]: '/shared' } },
      );
    const build = (what: string): Promise<Output> => {
      const { port } = gate.address() as AddressInfo;
      const step = `RUN busybox wget -q -O /${what} http://${node.gateway}:${port}/${what}`;
      const dir = cli.files('context', {});
      copyFileSync('/bin/busybox', join(dir, 'busybox'));
      writeFileSync(
        join(dir, 'Dockerfile'),
        `FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/busybox\n${step}\n`,
      );
      const host = ['--host', `tcp://127.0.0.1:${node.servicePort}`];
      return cli.run([...host, 'build', '--progress', 'plain', dir], { env: { DRYDOCK_CERT_PATH: client } });
    };
    const atGate = () => expect.poll(() => asked.length, { timeout: 120_000 }).toBe(1);
    const pass = () => asked.splice(0).forEach((response) => void response.end('made'));

    const first = await pod('drydock-0', 'zero');
    const health = async (path: string) => (await fetch(`http://${first.address}:9090${path}`)).status;
    expect([await health('/readyz'), await health('/livez')]).toEqual([200, 200]);
    for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe'])
      expect(await first.exec(template.spec.containers[0][probe].exec.command)).toBe(0);

    // It is told to end while a build runs: the build has its time, and others go elsewhere.
    const running = build('one');
    await atGate();
    const ended = first.end();
    await expect.poll(() => health('/readyz'), { timeout: 60_000 }).toBe(503);
    expect(await health('/livez')).toBe(200);
    expect(await (await fetch(`http://${first.address}:9090/metrics`)).text()).toMatch(
      /^drydock_builds_running 1$/m,
    );
    const refused = await build('other');
    expect(refused.code, refused.stderr).toBe(1);
    pass();
    expect(await running).toMatchObject({ code: 0 });
    expect(await ended).toBe(0);

    // Another pod with an empty disk finds the step in the shared cache: nobody comes to the gate.
    const second = await pod('drydock-1', 'one');
    const again = await build('one');
    expect(again, again.stderr).toMatchObject({ code: 0 });
    expect(again.stderr.match(/CACHED/g)?.length).toBe(3);
    expect(asked).toEqual([]);

    // The node fails in the middle of a build: its client is told, and the next pod on the disk sweeps and goes on.
    const broken = build('two');
    await atGate();
    await second.kill();
    expect(await broken).toMatchObject({ code: 1, stderr: expect.stringMatching(/broke off|cannot reach/) });
    asked.splice(0).forEach((response) => void response.destroy());
    const third = await pod('drydock-2', 'one');
    const last = build('two');
    await atGate();
    pass();
    expect(await last).toMatchObject({ code: 0 });
    expect(await third.end()).toBe(0);
  });
});
