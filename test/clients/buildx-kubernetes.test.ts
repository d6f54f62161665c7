/** buildx's driver `kubernetes` with Drydock's image in the place of moby/buildkit: the real buildx at a small cluster. */
import { execFile } from 'node:child_process';
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cli } from '../kit/cli.ts';
import { startCluster, type TestCluster } from '../kit/kube/cluster.ts';

const run = promisify(execFile);
let cli: Cli;
let cluster: TestCluster;
let kubeconfig: string;

beforeAll(async () => {
  cli = new Cli();
  cluster = await startCluster();
  kubeconfig = cluster.kubeconfig();
});
afterAll(async () => {
  await cluster?.stop();
  cli?.close();
});

async function buildx(...args: string[]): Promise<string> {
  const env = {
    ...process.env,
    KUBECONFIG: kubeconfig,
    BUILDX_CONFIG: join(cli.dir, 'buildx'),
    DOCKER_CONFIG: join(cli.dir, 'docker-config'),
  };
  const { stdout, stderr } = await run('/usr/local/lib/drydock-test/docker-buildx', args, {
    env,
    maxBuffer: 16 << 20,
  });
  return `${stdout}${stderr}`.trim();
}

test('a builder is made in the cluster, builds in its pods, and goes away with them', async () => {
  await buildx(
    ...['create', '--name', 'k', '--driver', 'kubernetes', '--bootstrap', '--buildkitd-flags', '--debug'],
    ...['--driver-opt', 'namespace=default,image=drydock:test,replicas=1'],
  );
  expect([...cluster.pods.values()].map(({ log }) => log()).join()).toMatch(/Drydock .* is ready/);
  const inspected = await buildx('inspect', 'k');
  expect(inspected).toMatch(/Status:\s+running/);
  expect(inspected).toMatch(/-drydock/);

  const context = cli.files('context', {
    Dockerfile: 'FROM scratch\nCOPY busybox /bin/sh\nRUN echo made > /made\n',
  });
  copyFileSync('/bin/busybox', join(context, 'busybox'));
  const out = join(cli.dir, 'out');
  const build = () =>
    buildx('build', '--builder', 'k', '--progress', 'plain', '--output', `type=local,dest=${out}`, context);
  await build();
  expect(readFileSync(join(out, 'made'), 'utf8')).toBe('made\n');
  expect((await build()).match(/CACHED/g)?.length).toBe(2);
  expect(cluster.requests.some((each) => /^EXEC .*\/exec SPDY$/.test(each))).toBe(true);

  await buildx('rm', 'k');
  expect(cluster.pods.size).toBe(0);
}, 180_000);
