/** `drydock history`: the builds of a daemon, and the steps of an image. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { Cli } from '../kit/cli.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { onLocal } from '../kit/stores.ts';

onLocal('drydock history', (store) => {
  const cli = new Cli();
  let daemon: TestDaemon;
  const env = () => ({ DRYDOCK_HOST: daemon.host });
  const ok = async (...args: string[]) => (await cli.ok(['history', ...args], { env: env() })).stdout;
  const lines = async (...args: string[]) => (await ok(...args)).split('\n').filter((line) => line !== '');

  beforeAll(async () => {
    daemon = await startTestDaemon({ ...store.options(), grpc: (host) => buildkitApi(host) });
    const build = (name: string, dockerfile: string, ...args: string[]) =>
      cli.run(['build', ...args, cli.files(name, { Dockerfile: dockerfile, f: 'f' })], { env: env() });
    await build(
      'one',
      'FROM scratch AS last\nARG WHO\nCOPY f /one\nLABEL a=b\n',
      '-t',
      'one',
      '--build-arg=WHO=me',
    );
    await build('bad', 'FROM scratch\nCOPY none /\n', '-t', 'bad');
    await build('two', 'FROM scratch\nCOPY f /two\n', '-t', 'two', '--target=0');
  });
  afterAll(async () => {
    await daemon?.stop();
    cli.close();
  });

  test('ls: the newest first, by filters, and in formats', async () => {
    const rows = await lines('ls');
    expect(rows[0]).toMatch(/^BUILD +NAME +STATUS +CREATED +DURATION +STEPS$/);
    expect(rows.slice(1).map((row) => row.split(/ {2,}/).slice(1, 3))).toEqual([
      ['docker.io/library/two:latest (0)', 'Completed'],
      ['docker.io/library/bad:latest', 'Error'],
      ['docker.io/library/one:latest', 'Completed'],
    ]);
    expect(await lines('ls', '--filter', 'status=error', '--format', '{{.Name}}: {{.Status}}')).toEqual([
      'docker.io/library/bad:latest: Error',
    ]);
    expect(await lines('ls', '-q')).toHaveLength(3);
    expect(JSON.parse((await lines('ls', '--format=json'))[0] ?? '')).toMatchObject({ Status: 'Completed' });
    expect((await cli.run(['history', 'ls', '--filter', 'duration>x'], { env: env() })).stderr).toContain(
      'invalid duration x',
    );
    for (const [filter, name] of [
      ['x', 'x'],
      ['status=error,state=error', 'state'],
      ['=error', ''],
    ]) {
      const { code, stderr } = await cli.run(['history', 'ls', '--filter', filter!], { env: env() });
      expect([code, stderr]).toEqual([
        1,
        expect.stringContaining(`builds have no ${JSON.stringify(name)} to filter on`),
      ]);
    }
  });

  test('inspect and logs: of the newest, of one before, and by the beginning of a reference', async () => {
    expect(await ok('inspect')).toMatch(/^Name: +docker\.io\/library\/two:latest \(0\)\n/);
    const [, , ref = ''] = await lines('ls', '-q');
    const one = await ok('inspect', '^2');
    expect(one).toBe(await ok('inspect', ref.slice(0, 12)));
    expect(one).toMatch(/\nStatus: +completed\n/);
    expect(one).toMatch(/\nDigest: +sha256:\w{64}\n/);
    expect(one).toContain('\nBuild arguments\n  WHO: me\n');
    expect(JSON.parse(await ok('inspect', '--format=json', '^1'))).toMatchObject({
      status: 'error',
      error: expect.stringContaining('/none'),
    });
    expect(await ok('logs', '^2')).toMatch(/\] COPY f \/one$/m);
    const { code, stderr } = await cli.run(['history', 'inspect', 'nobody'], { env: env() });
    expect([code, stderr]).toEqual([1, expect.stringContaining('no such build nobody')]);
  });

  test('of an image: its steps, here as there', async () => {
    const rows = await lines('one');
    expect(rows[0]).toMatch(/^IMAGE +CREATED +CREATED BY +SIZE +COMMENT$/);
    expect(rows[1]).toMatch(/LABEL a=b +0B/);
    expect(rows[2]).toMatch(/^<missing> .*COPY f \/one.* +(1B|4\.096kB)/);
    const dir = cli.files('here', { Dockerfile: 'FROM scratch\nCOPY f /one\nLABEL a=b\n', f: 'f' });
    const here = store.env();
    await cli.ok(['build', '-t', 'here', dir], { env: here });
    const { stdout } = await cli.ok(['history', '--format', '{{.Size}} {{.CreatedBy}}', 'here'], {
      env: here,
    });
    expect(stdout).toMatch(/^0B .*LABEL a=b\n(?:1B|4\.096kB) .*COPY f \/one.*\n$/);
  });

  test('rm: one, and all that have ended; in process the records of the root', async () => {
    const [first = ''] = await lines('ls', '-q');
    expect(await lines('rm', first)).toEqual([first]);
    expect(await lines('ls', '-q')).toHaveLength(2);
    const { stderr } = await cli.run(['history', 'rm'], { env: env() });
    expect(stderr).toContain('rm needs a BUILD, or --all');
    expect(await lines('rm', '--all')).toHaveLength(2);
    expect(await lines('ls', '-q')).toEqual([]);
    const here = async (...args: string[]) =>
      (await cli.ok(['history', ...args], { env: store.env() })).stdout;
    expect((await here('rm', '--all')).split('\n')).toHaveLength(2);
    expect(await here('ls', '-q')).toBe('');
  });
});
