/** `--squash` by every way that the command has: in process, bake, at a daemon; and with a cache in the image. */
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { busyboxRoot } from '../kit/busybox.ts';
import { Cli } from '../kit/cli.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';

const cli = new Cli();
let daemon: TestDaemon;
let registry: TestRegistry;
let dir: string;

beforeAll(async () => {
  await cli.makeBase();
  registry = await startRegistry();
  daemon = await startTestDaemon({ grpc: (host) => buildkitApi(host) });
  dir = cli.files('steps', {
    Dockerfile: 'FROM base\nRUN echo big > /big\nRUN rm /big; echo two > /two\n',
    'docker-bake.json': JSON.stringify({
      target: { default: { tags: ['baked'], output: ['type=image,squash=true'] } },
    }),
  });
});
afterAll(async () => {
  await daemon.stop();
  await registry.stop();
  cli.close();
});

const layersOf = async (name: string, env: Record<string, string> = {}) => {
  const { stdout } = await cli.ok(['inspect', name], { env });
  return JSON.parse(stdout)[0].RootFS.Layers.length as number;
};

test('build --squash, and bake with squash=true', async () => {
  await cli.ok(['build', '-q', '-t', 'plain', dir]);
  await cli.ok(['build', '-q', '--squash', '-t', 'squashed', dir]);
  await cli.ok(['bake', '-q'], { cwd: dir });
  const base = await layersOf('base');
  expect(await layersOf('plain')).toBe(base + 2);
  expect([await layersOf('squashed'), await layersOf('baked')]).toEqual([base + 1, base + 1]);
  const { stderr } = await cli.run(['build', '--squash', '-o', 'type=local,dest=out', dir]);
  expect(stderr).toContain('--squash: no output makes an image');
});

test('at a daemon: --squash, and bake', async () => {
  const env = { DRYDOCK_HOST: daemon.host };
  const scratch = cli.files('there', {
    Dockerfile: 'FROM scratch\nCOPY Dockerfile /a\nCOPY Dockerfile /b\n',
    'docker-bake.json': JSON.stringify({
      target: { default: { tags: ['baked'], output: ['type=image,squash=true'] } },
    }),
  });
  await cli.ok(['build', '-q', '--squash', '-t', 'squashed', scratch], { env });
  await cli.ok(['bake', '-q'], { env, cwd: scratch });
  expect([await layersOf('squashed', env), await layersOf('baked', env)]).toEqual([1, 1]);
});

test('a cache in a squashed image is used, and what is built of it has the same files', async () => {
  const name = `${registry.host}/app:squashed`;
  const own = cli.files('inline', {
    Dockerfile:
      'FROM scratch\nCOPY root /\nRUN ["/bin/sh", "-c", "echo big > /big"]\nRUN ["/bin/sh", "-c", "rm /big; echo two > /two"]\n',
  });
  busyboxRoot(`${own}/root`);
  await cli.ok(['build', '-q', '--squash', '--cache-to=type=inline', '--push', '-t', name, own]);
  const env = { DRYDOCK_ROOT: `${cli.dir}/fresh` };
  const { stderr } = await cli.ok(['build', '--progress=plain', `--cache-from=${name}`, '-t', 'again', own], {
    env,
  });
  // The last step's result is all there is, and all that is needed.
  expect(stderr).toMatch(/\[3\/3\] RUN .*\n#\d+ CACHED\n/);
  expect(stderr).not.toContain('not cached');
  const out = `${cli.dir}/files`;
  await cli.ok(['build', '-q', `--cache-from=${name}`, '-o', `type=local,dest=${out}`, own], { env });
  expect([existsSync(`${out}/two`), existsSync(`${out}/big`)]).toEqual([true, false]);
  // A changed last step cannot go on from the middle of a squashed image: the steps before it run.
  cli.files('inline', {
    Dockerfile:
      'FROM scratch\nCOPY root /\nRUN ["/bin/sh", "-c", "echo big > /big"]\nRUN ["/bin/sh", "-c", "cat /big; rm /big; echo three > /three"]\n',
  });
  const changed = await cli.ok(['build', '--progress=plain', `--cache-from=${name}`, '-t', 'changed', own], {
    env,
  });
  expect(changed.stderr).toMatch(/^#\d+ [\d.]+ big$/m);
});
