/** dockerode's own code against us: buildImage with and without a session, and its images. On both stores. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BuildLine, traces } from '../kit/build-answer.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { tarOf } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onLocal } from '../kit/stores.ts';

const busybox = { data: readFileSync('/bin/busybox'), mode: 0o755 };
const account = { username: 'ann', password: 's3cret' };

onLocal('dockerode', (store) => {
  let daemon: TestDaemon;
  let registry: TestRegistry;
  let docker: Docker;
  beforeAll(async () => {
    registry = await startRegistry({ basic: account });
    daemon = await startTestDaemon(store.options());
    docker = new Docker({ socketPath: daemon.socket });
  });
  afterAll(async () => {
    await daemon.stop();
    await registry.stop();
  });

  /** What `followProgress` gives of a stream; rejects when the stream ends with an error. */
  const follow = (stream: NodeJS.ReadableStream) =>
    new Promise<(BuildLine & { status?: string })[]>((resolve, reject) => {
      docker.modem.followProgress(stream, (err, output) => {
        const error = err ?? output.at(-1)?.error;
        if (error) reject(new Error(String(error)));
        else resolve(output);
      });
    });
  const build = async (dockerfile: string, options: Docker.ImageBuildOptions) => {
    const tar = tarOf({ Dockerfile: dockerfile, busybox });
    return follow(
      await docker.buildImage(Readable.from([tar]) as NodeJS.ReadableStream, {
        ...options,
        buildargs: { A: 'b' },
      }),
    );
  };

  describe.each(['1', '2'] as const)('buildImage, version %s', (version) => {
    const stepOf = (step: string) => `FROM scratch\nCOPY busybox /bin/sh\nRUN ${step}\n`;

    test('builds, and takes the same from the cache', async () => {
      const t = `dockerode:${version}`;
      await build(stepOf(`echo hello ${version}`), { t, version });
      const inspected = await docker.getImage(t).inspect();
      const listed = await docker.listImages();
      expect(listed.map(({ Id }) => Id)).toContain(inspected.Id);
      const again = await build(stepOf(`echo hello ${version}`), { t, version });
      expect((await docker.getImage(t).inspect()).Id).toBe(inspected.Id);
      if (version === '1') {
        expect(again.map(({ stream }) => stream).join('')).toContain('RUN echo hello 1\n ---> Using cache\n');
      } else {
        const cached = traces(again).flatMap(({ vertexes }) => vertexes.filter((vertex) => vertex.cached));
        expect(cached.map(({ name }) => name)).toContain('[2/2] RUN echo hello 2');
      }
    });

    test('a failed build rejects, and leaves no image', async () => {
      const t = `dockerode-broken:${version}`;
      const failing = build(stepOf('exit 3'), { t, version });
      await expect(failing).rejects.toThrow(version === '1' ? /non-zero code: 3/ : /exit code: 3/);
      await expect(docker.getImage(t).inspect()).rejects.toThrow(/no such image/i);
    });

    test('the base image comes from a registry that wants an account', async () => {
      const name = `${registry.host}/private-${version}`;
      await build('FROM scratch\nCOPY busybox /bin/sh\n', { t: `${name}:1`, version });
      const pushed = await docker.getImage(`${name}:1`).push({ authconfig: account } as never);
      expect(
        (await follow(pushed as unknown as NodeJS.ReadableStream)).map(({ status }) => status),
      ).toContain('Pushed');
      await docker.getImage(`${name}:1`).remove();
      const step = `FROM ${name}:1\nRUN echo private\n`;
      await expect(build(step, { version })).rejects.toThrow(
        /unauthorized|authentication|no basic auth|401/i,
      );
      const credentials =
        version === '1'
          ? { registryconfig: { [registry.host]: account } }
          : { authconfig: account as Docker.AuthConfig };
      await build(step, { version, t: `from-private:${version}`, ...credentials });
      expect((await docker.getImage(`from-private:${version}`).inspect()).Id).toMatch(/^sha256:/);
    });
  });

  test('images: list, inspect, history, tag, save, load, pull, remove', async () => {
    await build('FROM scratch\nCOPY busybox /bin/sh\nLABEL l=1\n', { t: 'rode:1', version: '1' });
    const image = docker.getImage('rode:1');
    const { Id } = await image.inspect();
    const filtered = await docker.listImages({ filters: { label: ['l=1'] } });
    expect(filtered.map((each) => each.Id)).toEqual([Id]);
    expect((await image.history())[0]).toMatchObject({ Id });
    const name = `${registry.host}/rode`;
    await image.tag({ repo: name, tag: '1' });
    const tagged = docker.getImage(`${name}:1`);
    await follow((await tagged.push({ authconfig: account } as never)) as unknown as NodeJS.ReadableStream);
    await tagged.remove();
    await follow(await docker.pull(`${name}:1`, { authconfig: account }));
    expect((await tagged.inspect()).Id).toBe(Id);
    await tagged.remove();
    const saved: Buffer[] = [];
    for await (const part of await image.get()) saved.push(Buffer.from(part as Uint8Array));
    await image.remove();
    await expect(image.inspect()).rejects.toMatchObject({ statusCode: 404 });
    await follow((await docker.loadImage(Readable.from(saved) as never)) as NodeJS.ReadableStream);
    expect((await image.inspect()).Id).toBe(Id);
  });

  test('a build that is given up is no longer built', async () => {
    const tar = tarOf({
      Dockerfile: 'FROM scratch\nCOPY busybox /bin/sh\nRUN while true; do :; done\n',
      busybox,
    });
    const abort = new AbortController();
    const stream = await docker.buildImage(Readable.from([tar]) as NodeJS.ReadableStream, {
      version: '2',
      abortSignal: abort.signal,
    });
    const over = new Promise<void>((resolve) => stream.on('error', () => resolve()).on('close', resolve));
    stream.once('data', () => setTimeout(() => abort.abort(), 300));
    await over;
    await expect.poll(() => running(daemon)).toBe(0);
  });

  test('examples/dockerode builds its folder', async () => {
    const script = join(import.meta.dirname, '../../examples/dockerode/build.mjs');
    const { stdout } = await promisify(execFile)(process.execPath, [script], {
      env: { ...process.env, DOCKER_HOST: daemon.host },
    });
    const { Id } = await docker.getImage('hello:1').inspect();
    expect(stdout).toMatch(/^Step 1\/3 : FROM scratch\n/);
    expect(stdout.endsWith(`Successfully tagged hello:1\n${Id}\n`)).toBe(true);
  });
});

/** Builds that the daemon runs now, by its own count. */
async function running(daemon: TestDaemon): Promise<number> {
  const { text } = await daemon.ask('GET', '/metrics');
  return Number(/^drydock_builds_running (\d+)/m.exec(text)?.[1]);
}
