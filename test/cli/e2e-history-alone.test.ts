/** Builds of the command without a daemon: they are in the history of their root, for the command and for daemons. */
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { busyboxRoot } from '../kit/busybox.ts';
import { Cli, outputOf } from '../kit/cli.ts';
import { startTestDaemon } from '../kit/daemon.ts';
import { onStores } from '../kit/stores.ts';

const secret = 'hunter-2222';

onStores('the history of a root without a daemon', (store) => {
  const cli = new Cli();
  let place: Record<string, string>;
  const env = () => place;
  const ok = async (...args: string[]) => (await cli.ok(args, { env: env() })).stdout;
  const refs = async () => (await ok('history', 'ls', '-q')).trim().split('\n');
  /** The files below the root in which a build may be remembered. */
  const files = () =>
    readdirSync(cli.root, { recursive: true, encoding: 'utf8' }).filter((name) =>
      /(^|\/)(notes\/|history\.db)/.test(name),
    );
  const kept = () =>
    Buffer.concat(files().map((name) => readFileSync(join(cli.root, name)))).toString('latin1');
  const notes = () => files().filter((name) => name.includes('notes/'));

  beforeAll(async () => {
    place = store.env('history-alone');
    const dir = cli.files('base', { Dockerfile: 'FROM scratch\nCOPY root /\nENV PATH=/bin\n' });
    busyboxRoot(join(dir, 'root'));
    await ok('build', '-q', '-t', 'base', dir);
    await ok('history', 'rm', '--all');
  });
  afterAll(() => cli.close());

  test('a build, a cached one and one that fails: with steps, metadata and statements, without secrets', async () => {
    const one = cli.files('one', {
      Dockerfile: `FROM base\nARG TOKEN\nRUN echo said $TOKEN && printf ${secret.slice(0, 6)} && sleep 0.3 && echo ${secret.slice(6)}\n`,
    });
    const bad = cli.files('bad', { Dockerfile: 'FROM base\nRUN echo about to fail && false\n' });
    const build = (...args: string[]) => cli.run(['build', ...args], { env: env() });
    for (let i = 0; i < 2; i++) await build('-t', 'one', '--build-arg', `TOKEN=${secret}`, one);
    await build('-t', 'bad', bad);
    // Not even before somebody asks.
    expect(kept()).toContain('build-arg:TOKEN');
    expect(kept()).not.toContain(secret);
    const rows = (await ok('history', 'ls', '--format', '{{.Name}} {{.Status}} {{.Steps}}'))
      .trim()
      .split('\n');
    expect(rows).toEqual([
      expect.stringMatching(/bad:latest Error /),
      expect.stringMatching(/one:latest Completed (\d+) \((?!0)\d+ cached\)/),
      expect.stringMatching(/one:latest Completed (\d+) \(\d+ cached\)/),
    ]);
    expect(kept()).not.toContain(secret);
    expect(notes()).toEqual([]);
    const facts = JSON.parse(await ok('history', 'inspect', '--format=json', '^2'));
    expect(facts).toMatchObject({
      status: 'completed',
      buildArgs: { TOKEN: 'xxxxx' },
      images: ['docker.io/library/one:latest'],
      digest: expect.stringMatching(/^sha256:/),
      attachments: [{ type: 'https://slsa.dev/provenance/v1' }],
    });
    const log = await ok('history', 'logs', '^2');
    expect(log).toContain(`said ${'x'.repeat(secret.length)}`);
    expect(log).toContain('x'.repeat(secret.length - 6));
    expect(await ok('history', 'logs', '^0')).toMatch(/about to fail[\s\S]*ERROR: process/);
    expect(await ok('history', 'inspect', '^0')).toMatch(/\nError: +.*did not complete successfully/);
  });

  test('explain takes the references of the history', async () => {
    const [, , first = ''] = await refs();
    expect(await ok('explain', first.slice(0, 13))).toMatch(/^Build [\s\S]*RUN echo said/);
  });

  test('bake, and questions, which build nothing', async () => {
    const dir = cli.files('baked', {
      Dockerfile: 'FROM base\nARG N\nRUN echo $N\n',
      'docker-bake.json': JSON.stringify({
        group: { default: { targets: ['a', 'b'] } },
        target: Object.fromEntries(['a', 'b'].map((N) => [N, { args: { N }, tags: [N] }])),
      }),
    });
    const before = (await refs()).length;
    await cli.ok(['bake'], { env: env(), cwd: dir });
    await cli.run(['build', '--check', dir], { env: env() });
    await cli.run(['build', '--call=targets', dir], { env: env() });
    expect(await refs()).toHaveLength(before + 2);
  });

  test('a build is seen while it runs, and as failed when its process was killed', async () => {
    const dir = cli.files('slow', { Dockerfile: 'FROM base\nRUN echo begun; sleep 600\n' });
    const child = cli.start(['build', '-t', 'slow', dir], { env: env() });
    const gone = once(child, 'close');
    const newest = async () =>
      (await ok('history', 'ls', '--format', '{{.Name}} {{.Status}}')).split('\n')[0];
    await expect.poll(newest, { timeout: 120_000 }).toBe('docker.io/library/slow:latest Running');
    const daemon = await startTestDaemon({
      ...store.options('history-alone'),
      root: cli.root,
      grpc: (host) => buildkitApi(host),
    });
    try {
      const there = { env: { DRYDOCK_HOST: daemon.host } };
      const [ref = ''] = (await cli.ok(['history', 'ls', '-q'], there)).stdout.split('\n');
      const logs = cli.start(['history', 'logs', ref], there);
      const followed = outputOf(logs);
      let text = '';
      logs.stdout?.on('data', (data) => {
        text += data;
      });
      await expect.poll(() => text, { timeout: 120_000 }).toContain('begun');
      child.kill('SIGKILL');
      await gone;
      expect((await followed).code).toBe(0);
      await expect.poll(newest, { timeout: 120_000 }).toBe('docker.io/library/slow:latest Error');
      expect(await ok('history', 'inspect', ref)).toContain('the process of the build was killed');
      expect(await ok('history', 'logs', ref)).toContain('begun');
      expect(notes()).toEqual([]);
    } finally {
      await daemon.stop();
    }
  });

  test('much output is taken in at once, compressed', async () => {
    const dir = cli.files('much', {
      Dockerfile:
        'FROM base\nRUN i=0; while [ $i -lt 20000 ]; do echo "line $i of quite a lot of output, all of it the same"; i=$((i+1)); done\n',
    });
    await ok('build', '-q', '-t', 'much', dir);
    expect(notes()).toEqual([]);
    expect(await ok('history', 'logs', '^0')).toContain('line 19999 of');
  });

  test('a daemon on the root shows them, also those that come while it runs', async () => {
    const daemon = await startTestDaemon({
      ...store.options('history-alone'),
      root: cli.root,
      grpc: (host) => buildkitApi(host),
    });
    try {
      const there = async () =>
        (await cli.ok(['history', 'ls', '-q'], { env: { DRYDOCK_HOST: daemon.host } })).stdout
          .trim()
          .split('\n');
      const before = await there();
      expect(before).toEqual(await refs());
      const dir = cli.files('later', { Dockerfile: 'FROM base\nLABEL a=later\n' });
      await ok('build', '-q', '-t', 'later', dir);
      expect(await there()).toHaveLength(before.length + 1);
      const [ref = ''] = await there();
      await cli.ok(['history', 'rm', ref], { env: { DRYDOCK_HOST: daemon.host } });
      expect(await refs()).toEqual(before);
    } finally {
      await daemon.stop();
    }
  });
});
