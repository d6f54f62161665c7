/** `drydock build --verify-reproducible` as a user types it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { busyboxRoot } from '../kit/busybox.ts';
import { Cli } from '../kit/cli.ts';
import { onLocal } from '../kit/stores.ts';

onLocal('--verify-reproducible', (store) => {
  let cli: Cli;
  let env: Record<string, string>;
  let count = 0;

  beforeAll(() => {
    cli = new Cli();
    env = store.env();
  });
  afterAll(() => cli?.close());

  const context = (dockerfile: string, files: Record<string, string> = {}) =>
    cli.files(`context${++count}`, { Dockerfile: dockerfile, ...files });
  const images = async () => (await cli.ok(['images'], { env })).stdout;
  const withShell = (steps: string) => {
    const dir = context(`FROM scratch\nCOPY root /\nENV PATH=/bin\n${steps}\n`);
    busyboxRoot(`${dir}/root`);
    return dir;
  };
  const fixed = ['--output', 'type=image,rewrite-timestamp=true'];
  const verify = (dir: string, args: readonly string[] = [], more: Record<string, string> = {}) =>
    cli.run(['build', '--verify-reproducible', ...args, dir], { env: { ...env, ...more } });

  test('what differs is told by layer, file and byte, and no image is made', async () => {
    const dir = withShell('RUN echo same > /same\nRUN cat /proc/sys/kernel/random/uuid > /id');
    const { code, stderr } = await verify(dir, ['-t', 'random', ...fixed], {
      SOURCE_DATE_EPOCH: '1700000000',
    });
    expect(code).toBe(1);
    expect(stderr).toContain(
      'the build is not reproducible:\nlinux/amd64: layer 3 of 3 (RUN /bin/sh -c cat /proc',
    );
    expect(stderr).toMatch(
      /^ {2}id: bytes\n {4}first {3}at byte \d+: [0-9a-f]+ ".*"\n {4}second {2}at byte/m,
    );
    expect(stderr).not.toContain('same: ');
    expect(stderr).not.toContain('layer 2 of 3');
    expect(await images()).not.toContain('random');
  });

  test('times alone have their remedy as a hint', async () => {
    const dir = withShell('RUN echo same > /same');
    const { code, stderr } = await verify(dir, ['-t', 'times']);
    expect(code).toBe(1);
    expect(stderr).toContain('same: mtime');
    expect(stderr).toMatch(/hint: Only times differ: set SOURCE_DATE_EPOCH, and rewrite-timestamp=true/);
    const { code: mended, stderr: said } = await verify(dir, ['-t', 'times', ...fixed], {
      SOURCE_DATE_EPOCH: '0',
    });
    expect(said).toContain('Reproducible: two builds without cache made the same');
    expect(mended).toBe(0);
    expect(await images()).toContain('times');
  });

  test('several platforms are compared each, with their statements left out', async () => {
    const dir = context('FROM scratch\nARG TARGETARCH\nCOPY f /$TARGETARCH\n', { f: 'hi' });
    const args = ['--platform', 'linux/arm64,linux/amd64', '--provenance=true', '-t', 'both', ...fixed];
    const { code, stderr } = await verify(dir, args, { SOURCE_DATE_EPOCH: '1' });
    expect(stderr).toContain('Reproducible');
    expect(code).toBe(0);
  });

  test('what is on stdin is read once and built three times; checks alone are refused', async () => {
    const input = 'FROM scratch\nCOPY <<EOF /f\nhi\nEOF\n';
    const args = ['build', '--verify-reproducible', '-t', 'piped', ...fixed, '-'];
    const { stderr } = await cli.run(args, { input, env: { ...env, SOURCE_DATE_EPOCH: '1' } });
    expect(stderr).toContain('Reproducible: two builds without cache made the same');
    expect(await images()).toContain('piped');
    expect((await verify(context('FROM scratch\n'), ['--check'])).stderr).toContain(
      'Leave --check, --call or --verify-reproducible out',
    );
  });
});
