/** testcontainers' `GenericContainer.fromDockerfile(…).build()`, as far as the build goes. On both stores. */
import { execFile } from 'node:child_process';
import { copyFileSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { onLocal } from '../kit/stores.ts';

const run = promisify(execFile);
const child = join(import.meta.dirname, 'children/testcontainers-build.ts');

interface Inspect {
  Id: string;
  Config: { Labels: Record<string, string> | null };
}

onLocal('testcontainers', (store) => {
  let daemon: TestDaemon;
  beforeAll(async () => {
    daemon = await startTestDaemon(store.options());
  });
  afterAll(() => daemon.stop());

  const contextOf = (steps: string, ignored = '') => {
    const dir = mkdtempSync(join(daemon.dir, 'context-'));
    writeFileSync(join(dir, 'Dockerfile'), `FROM scratch AS base\nCOPY busybox /bin/sh\n${steps}\n`);
    if (ignored !== '') writeFileSync(join(dir, '.dockerignore'), ignored);
    writeFileSync(join(dir, 'notes.txt'), 'notes');
    copyFileSync('/bin/busybox', join(dir, 'busybox'));
    return dir;
  };
  /** What each build was told; null for success. */
  const build = async (builds: [context: string, tag: string, options?: object][], more = {}) => {
    const args = builds.map(([context, tag, options = {}]) => JSON.stringify([context, tag, options]));
    const { stdout } = await run(process.execPath, [child, ...args], {
      env: {
        PATH: process.env.PATH,
        HOME: daemon.dir,
        DOCKER_HOST: daemon.host,
        TESTCONTAINERS_RYUK_DISABLED: 'true',
        ...more,
      },
    });
    return stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as string | null);
  };
  const inspect = async (tag: string) => (await daemon.ask('GET', `/images/${tag}/json`)).json<Inspect>();

  test.each([
    ['docker’s builder of old', false],
    ['withBuildkit()', true],
  ])('builds with %s, and gets the same image from the cache', async (_, buildkit) => {
    const context = contextOf('ARG WHO\nRUN date > /when && echo "$WHO" > /who', 'notes.txt\n');
    const name = `tc-${buildkit}`;
    const options = { buildkit, args: { WHO: 'me' } };
    expect(
      await build([
        [context, `${name}:1`, options],
        [context, `${name}:2`, options],
      ]),
    ).toEqual([null, null]);
    const first = await inspect(`${name}:1`);
    // The date is in the layer, and the labels of the library are in the config.
    expect((await inspect(`${name}:2`)).Id).toBe(first.Id);
    expect(first.Config.Labels).toMatchObject({ 'org.testcontainers': 'true' });
    expect(await build([[context, `${name}:3`, { ...options, cache: false }]])).toEqual([null]);
    expect((await inspect(`${name}:3`)).Id).not.toBe(first.Id);
  });

  test('a target of several stages', async () => {
    const context = contextOf('RUN exit 0\nFROM base AS broken\nRUN exit 5');
    expect(await build([[context, 'tc-target:1', { target: 'base' }]])).toEqual([null]);
  });

  test('a build that fails leaves no image, which is how the library sees that it has failed', async () => {
    const context = contextOf('RUN exit 3');
    for (const buildkit of [false, true]) {
      const [failure] = await build([[context, 'tc-failing:1', { buildkit }]]);
      expect(failure).toBe('Error: Failed to build image');
    }
    expect((await daemon.ask('GET', '/images/tc-failing:1/json')).status).toBe(404);
  });

  test('with its reaper left on, it is told that containers do not run here', async () => {
    const attempt = build([[contextOf('RUN exit 0'), 'tc-ryuk:1']], {
      TESTCONTAINERS_RYUK_DISABLED: 'false',
      RYUK_CONTAINER_IMAGE: 'tc-target:1',
    });
    const [failure] = await attempt;
    expect(failure).toContain('does not run containers');
  });
});
