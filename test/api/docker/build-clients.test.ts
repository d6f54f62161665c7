/** dockerode's own code against us: buildImage with and without a session. On both stores. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import Docker from 'dockerode';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { tarOf } from '../../kit/images.ts';
import { onStores } from '../../kit/stores.ts';

onStores('dockerode', (store) => {
  let daemon: TestDaemon;
  let docker: Docker;
  beforeAll(async () => {
    daemon = await startTestDaemon(store.options());
    docker = new Docker({ socketPath: daemon.socket });
  });
  afterAll(() => daemon.stop());

  const context = (step: string) =>
    tarOf({
      Dockerfile: `FROM scratch\nCOPY busybox /bin/sh\nRUN ${step}\n`,
      busybox: { data: readFileSync('/bin/busybox'), mode: 0o755 },
    });

  const build = async (step: string, options: Docker.ImageBuildOptions) => {
    const stream = await docker.buildImage(Readable.from([context(step)]) as NodeJS.ReadableStream, options);
    return new Promise<{ stream?: string; error?: string }[]>((resolve, reject) => {
      docker.modem.followProgress(stream, (err, output) => {
        const error = err ?? output.at(-1)?.error;
        if (error) reject(new Error(String(error)));
        else resolve(output);
      });
    });
  };

  test.each(['1', '2'] as const)('buildImage, version %s', async (version) => {
    const t = `dockerode:${version}`;
    await build(`echo hello ${version}`, { t, version, buildargs: { A: 'b' }, registryconfig: {} });
    const inspected = await docker.getImage(t).inspect();
    const listed = await docker.listImages();
    expect(listed.map(({ Id }) => Id)).toContain(inspected.Id);
    await build(`echo hello ${version}`, { t, version });
    expect((await docker.getImage(t).inspect()).Id).toBe(inspected.Id);
  });

  test.each(['1', '2'] as const)(
    'a failed build rejects, and leaves no image, version %s',
    async (version) => {
      const t = `dockerode-broken:${version}`;
      const failing = build('exit 3', { t, version });
      await expect(failing).rejects.toThrow(version === '1' ? /non-zero code: 3/ : /exit code: 3/);
      await expect(docker.getImage(t).inspect()).rejects.toThrow(/no such image/i);
    },
  );

  test('examples/dockerode builds its folder', async () => {
    const script = join(import.meta.dirname, '../../../examples/dockerode/build.mjs');
    const { stdout } = await promisify(execFile)(process.execPath, [script, daemon.socket]);
    const { Id } = await docker.getImage('hello:1').inspect();
    expect(stdout).toMatch(/^Step 1\/3 : FROM scratch\n/);
    expect(stdout.endsWith(`Successfully tagged hello:1\n${Id}\n`)).toBe(true);
  });
});
