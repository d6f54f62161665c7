/** The image of packaging/image in the place of moby/buildkit: buildx's docker-container driver at a real dockerd. */
import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cli } from '../kit/cli.ts';
import { startDockerd, type TestDockerd } from '../kit/dockerd.ts';
import { ownImage } from '../kit/own-image.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';

const run = promisify(execFile);
const container = 'buildx_buildkit_dry0';
let cli: Cli;
let dockerd: TestDockerd;
let registry: TestRegistry;

beforeAll(async () => {
  cli = new Cli();
  registry = await startRegistry();
  dockerd = await startDockerd();
  const plugins = join(dockerd.dir, 'config/cli-plugins');
  mkdirSync(plugins, { recursive: true });
  copyFileSync('/usr/local/lib/drydock-test/docker-buildx', join(plugins, 'docker-buildx'));
  await docker('load', '-q', '-i', await ownImage(cli, 'drydock:test'));
});
afterAll(async () => {
  await docker('rm', '-f', container).catch(() => {});
  await dockerd?.stop();
  await registry?.stop();
  cli?.close();
});

async function docker(...args: string[]): Promise<string> {
  const env = { ...process.env, DOCKER_HOST: dockerd.host, DOCKER_CONFIG: join(dockerd.dir, 'config') };
  const { stdout, stderr } = await run('/usr/bin/docker', args, { env, maxBuffer: 16 << 20 });
  return `${stdout}${stderr}`.trim();
}

test('a builder is made, builds, pushes, stops, starts, prunes, and goes away', async () => {
  const config = join(cli.dir, 'buildkitd.toml');
  writeFileSync(
    config,
    `[worker.oci]\n  max-parallelism = 2\n[registry."${registry.host}"]\n  http = true\n`,
  );
  // This dockerd has no networks, and steps have the container's.
  const options = ['image=drydock:test', 'network=host', 'env.DRYDOCK_NETWORK_MODE=host'];
  await docker(
    ...['buildx', 'create', '--name', 'dry', '--driver', 'docker-container', '--bootstrap'],
    ...['--driver-opt', options.join(','), '--config', config],
    ...['--buildkitd-flags', '--debug --allow-insecure-entitlement security.insecure'],
  );
  const inspected = await docker('buildx', 'inspect', 'dry');
  expect(inspected).toMatch(/Status:\s+running/);
  expect(inspected).toMatch(/BuildKit( version)?:\s+v[\d.]+-drydock/);
  expect(inspected).toContain('linux/amd64'.replace('amd64', process.arch === 'arm64' ? 'arm64' : 'amd64'));
  const [{ Config, Mounts }] = JSON.parse(await docker('inspect', container));
  expect(Config.Cmd).toContain('--allow-insecure-entitlement');
  expect(Config.Healthcheck.Test).toEqual(['CMD', 'buildctl', 'debug', 'workers']);
  expect(Mounts).toMatchObject([{ Type: 'volume', Destination: '/var/lib/buildkit' }]);

  const files = { Dockerfile: 'FROM scratch\nCOPY busybox /bin/sh\nRUN echo made > /made\n' };
  const context = cli.files('context', files);
  copyFileSync('/bin/busybox', join(context, 'busybox'));
  const name = `${registry.host}/app:1`;
  const build = (...args: string[]) =>
    docker('buildx', 'build', '--builder', 'dry', '--progress', 'plain', ...args, context);
  await build('--push', '-t', name);
  const pushed = await (await fetch(`http://${registry.host}/v2/app/tags/list`)).json();
  expect(pushed).toEqual({ name: 'app', tags: ['1'] });

  // A stopped builder starts with the next build, and has kept its cache on the volume.
  await docker('buildx', 'stop', 'dry');
  expect(await docker('inspect', '-f', '{{.State.ExitCode}}', container)).toBe('0');
  const again = await build('--load', '-t', 'loaded');
  expect(again.match(/CACHED/g)?.length).toBe(2);
  expect(
    await docker('run', '--rm', '--network', 'none', 'loaded', 'sh', '-c', 'read x < /made; echo $x'),
  ).toBe('made');

  expect(await docker('buildx', 'du', '--builder', 'dry')).toMatch(/Reclaimable:\s+[1-9]/);
  expect(await docker('buildx', 'prune', '--builder', 'dry', '--all', '--force')).toMatch(/Total:\s+[1-9]/);
  expect(await docker('buildx', 'du', '--builder', 'dry')).toMatch(/Total:\s+0B/);
  await docker('buildx', 'rm', 'dry');
  expect(await docker('ps', '-aq')).toBe('');
  expect(await docker('volume', 'ls', '-q')).toBe('');
}, 180_000);
