/** Clients other than docker's CLI with one DOCKER_HOST: what they build with Drydock they run at the engine behind it. */
import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import Docker from 'dockerode';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type EngineFront, startEngineFront } from '../kit/engine-front.ts';
import { onLocal } from '../kit/stores.ts';

const run = promisify(execFile);
const child = (name: string) => join(import.meta.dirname, 'children', name);
const plugins = '/usr/local/lib/drydock-test';

onLocal('clients in front of an engine', (store) => {
  let front: EngineFront;
  let context: string;
  beforeAll(async () => {
    front = await startEngineFront(store);
    context = contextOf('context');
  });
  afterAll(() => front?.stop());

  function contextOf(name: string): string {
    const dir = join(front.daemon.dir, name);
    mkdirSync(dir, { recursive: true });
    copyFileSync('/bin/busybox', join(dir, 'busybox'));
    writeFileSync(
      join(dir, 'Dockerfile'),
      'FROM scratch\nARG STEP=none\nCOPY busybox /bin/sh\nCOPY busybox /bin/\nRUN echo $STEP > /step\n',
    );
    return dir;
  }
  const environment = (more: Record<string, string> = {}) => ({
    PATH: process.env.PATH,
    HOME: front.daemon.dir,
    DOCKER_HOST: front.daemon.host,
    ...more,
  });

  test('testcontainers builds and starts, looks into the log, copies, runs and stops', async () => {
    const script = ['sh', '-c', 'echo up; read x < /dev/zero'];
    const { stdout } = await run(process.execPath, [child('testcontainers-start.ts'), context, ...script], {
      env: environment({
        TESTCONTAINERS_RYUK_DISABLED: 'true',
        // This dockerd has no bridge, of whose address the library would make its host.
        TESTCONTAINERS_HOST_OVERRIDE: '127.0.0.1',
      }),
    });
    expect(JSON.parse(stdout)).toEqual(['copied', 4]);
    expect(front.handedOver()).toContainEqual(['started:1', 0]);
  });

  test('docker-py builds, runs, follows logs, speaks over a socket, commits', async () => {
    const { stdout } = await run('/usr/bin/python3', [child('docker-py.py'), front.daemon.host, context]);
    expect(JSON.parse(stdout)).toEqual({
      built: expect.arrayContaining(['py:1']),
      log: expect.stringContaining('Successfully tagged py:1'),
      run: 'out\n',
      logs: ['line 1', 'line 2', 'line 3'],
      exec: [4, 'out\n', 'err\n'],
      socket: 'typed\n',
      wait: 137,
      killed: true,
      committed: ['py-committed:1'],
    });
  });

  test('dockerode attaches before the start, types, and hears the end', async () => {
    const docker = new Docker({ socketPath: front.daemon.socket });
    await front.docker(['build', '-q', '-t', 'node:1', context]);
    const container = await docker.createContainer({
      Image: 'node:1',
      Cmd: ['busybox', 'cat'],
      OpenStdin: true,
      StdinOnce: true,
      Tty: false,
      HostConfig: { NetworkMode: 'none' },
    });
    const stream = await container.attach({
      stream: true,
      hijack: true,
      stdin: true,
      stdout: true,
      stderr: true,
    });
    await container.start();
    stream.end('typed\nand more\n');
    const said = await text(stream);
    expect(said).toContain('typed\n');
    expect(said).toContain('and more\n');
    expect(await container.wait()).toMatchObject({ StatusCode: 0 });
    await container.remove();
  });

  test('compose builds and starts services that wait for each other, again only what has changed', async () => {
    const config = join(front.daemon.dir, 'config');
    mkdirSync(join(config, 'cli-plugins'), { recursive: true });
    for (const name of ['docker-buildx', 'docker-compose'])
      copyFileSync(join(plugins, name), join(config, 'cli-plugins', name));
    const project = join(front.daemon.dir, 'project');
    contextOf('project/web');
    writeFileSync(
      join(project, 'compose.yaml'),
      `services:
  web:
    build: { context: ./web, args: { STEP: web } }
    network_mode: none
    volumes: ["data:/data"]
    command: sh -c 'echo ready > /data/said; read x < /dev/zero'
    stop_signal: SIGKILL
    healthcheck: { test: ["CMD", "sh", "-c", "read x < /data/said"], interval: 0.2s, retries: 100 }
  client:
    build: { context: ./web, args: { STEP: client } }
    image: client:1
    network_mode: none
    volumes: ["data:/data"]
    depends_on: { web: { condition: service_healthy } }
    command: sh -c 'read x < /data/said; read y < /step; echo $$x $$y'
volumes: { data: {} }
`,
    );
    const compose = async (...args: string[]) => {
      const env = environment({ DOCKER_CONFIG: config, BUILDX_CONFIG: config });
      const { stdout, stderr } = await run('/usr/bin/docker', ['compose', ...args], { cwd: project, env });
      return `${stdout}${stderr}`;
    };
    expect(await compose('up', '--build', '--exit-code-from', 'client')).toContain('ready client');
    await compose('up', '--build', '--detach');
    const containers = async () => (await compose('ps', '--all', '--quiet')).trim().split('\n').sort();
    const before = await containers();
    await compose('up', '--build', '--detach');
    expect(await containers()).toEqual(before);
    expect(await compose('exec', '-T', 'web', 'sh', '-c', 'read x < /step; echo $x')).toContain('web');
    expect(await compose('run', '--rm', '--no-deps', 'client', 'sh', '-c', 'echo one-off')).toContain(
      'one-off',
    );
    await compose('down', '--volumes', '--rmi', 'all');
    expect(await front.docker(['ps', '-aq'])).toBe('');
    expect(await front.docker(['images', '-q', 'client'])).toBe('');
  }, 120_000);
});
