/**
 * Builds that are verified (made twice without cache, compared) by every way in but the command without a daemon, which
 * test/cli/e2e-reproducible.test.ts has.
 */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { image } from '../../src/llb/llb.ts';
import { marshal } from '../../src/llb/marshal.ts';
import { build, buildState } from '../../src/sdk/build.ts';
import { Builds } from '../kit/builds.ts';
import { Cli } from '../kit/cli.ts';
import { onStores } from '../kit/stores.ts';
import { ControlKit, failure } from './buildkit/control-kit.ts';

onStores('a verified build', (store) => {
  let kit: ControlKit;
  const builds = new Builds();
  const cli = new Cli();
  beforeAll(async () => {
    kit = await ControlKit.start(store.options());
    await builds.use(kit.daemon.engine);
  });
  afterAll(async () => {
    await kit.daemon.stop();
    cli.close();
    rmSync(builds.dir, { recursive: true, force: true });
  });

  const random = 'FROM base\nRUN cat /proc/sys/kernel/random/uuid >/id\n';
  const fixed = 'FROM base\nCOPY f /f\nRUN cat /f /f >/g\n';
  const folder = (dockerfile: string) => builds.context({ Dockerfile: dockerfile, f: 'hi' });
  const differs =
    /the build is not reproducible:\nlinux\/amd64: layer \d of \d \(.*random\/uuid >\/id.*\)\n {2}id: bytes\n {4}first/;
  const epoch = { SOURCE_DATE_EPOCH: '1' };
  const attrs = { 'rewrite-timestamp': 'true' };
  const has = async (name: string) => (await kit.daemon.ask('GET', `/images/${name}/json`)).status === 200;

  type Way = (dockerfile: string, name: string) => Promise<string | undefined>;
  const told = (work: Promise<unknown>) =>
    work.then(
      () => undefined,
      (err) => String(err.rawMessage ?? err.message),
    );
  const ways: [string, Way][] = [
    [
      'build()',
      (dockerfile, name) =>
        told(
          build({
            ...{ engine: kit.daemon.engine, context: folder(dockerfile), tags: [name], buildArgs: epoch },
            ...{ outputs: [{ type: 'image', attrs }], verifyReproducible: true },
          }),
        ),
    ],
    [
      'buildState()',
      (dockerfile, name) => {
        const run = dockerfile === random ? 'cat /proc/sys/kernel/random/uuid >/id' : 'echo hi >/f';
        const output = { type: 'image' as const, attrs: { ...attrs, 'source-date-epoch': '1' } };
        return told(
          buildState(image('base').run(run).root(), {
            ...{ engine: kit.daemon.engine, tags: [name], outputs: [output], verifyReproducible: true },
          }),
        );
      },
    ],
    [
      'POST /build, its body read once',
      async (dockerfile, name) => {
        const body = execFileSync('tar', ['-C', folder(dockerfile), '-c', '.']);
        const outputs = JSON.stringify([{ Type: 'moby', Attrs: attrs }]);
        const query = `t=${name}&verifyreproducible=1&buildargs=${encodeURIComponent(JSON.stringify(epoch))}&outputs=${encodeURIComponent(outputs)}`;
        const answer = await kit.daemon.ask('POST', `/build?${query}`, { body });
        // Nothing of the build itself has begun when it is refused.
        const refused = answer.lines().find((line) => 'message' in line || 'error' in line);
        return (refused?.message ?? refused?.error) as string | undefined;
      },
    ],
    [
      'the command with --host',
      async (dockerfile, name) => {
        const args = [
          'build',
          '--verify-reproducible',
          '-t',
          name,
          '-o',
          'type=image,rewrite-timestamp=true',
        ];
        const { code, stderr } = await cli.run(
          ['--host', `unix://${kit.daemon.socket}`, ...args, folder(dockerfile)],
          { env: epoch },
        );
        if (code === 0) expect(stderr).toContain('Reproducible: two builds without cache made the same');
        return code === 0 ? undefined : stderr;
      },
    ],
    [
      'Control.Solve of a Dockerfile, by a build argument',
      (dockerfile, name) =>
        told(
          kit.solve(
            {
              Frontend: 'dockerfile.v0',
              FrontendAttrs: {
                'build-arg:SOURCE_DATE_EPOCH': '1',
                'build-arg:DRYDOCK_VERIFY_REPRODUCIBLE': '1',
              },
              Exporters: [{ Type: 'image', Attrs: { name, ...attrs } }],
            },
            { dirs: { context: folder(dockerfile), dockerfile: folder(dockerfile) } },
          ),
        ),
    ],
    [
      'Control.Solve of LLB',
      (dockerfile, name) => {
        const run = dockerfile === random ? 'cat /proc/sys/kernel/random/uuid >/id' : 'echo hi >/f';
        return told(
          kit.solve({
            Definition: marshal(image('base').run(run).root()),
            FrontendAttrs: { 'verify-reproducible': 'true' },
            Exporters: [{ Type: 'image', Attrs: { name, ...attrs, 'source-date-epoch': '1' } }],
          }),
        );
      },
    ],
  ];

  describe.each(ways)('%s', (_, way) => {
    test('fails with what differs, and makes no image', async () => {
      expect(await way(random, 'random:1')).toMatch(differs);
      expect(await has('random:1')).toBe(false);
    });

    test('makes the image when both were the same', async () => {
      expect(await way(fixed, 'fixed:1')).toBeUndefined();
      expect(await has('fixed:1')).toBe(true);
      await kit.daemon.ask('DELETE', '/images/fixed:1?force=1');
    });
  });

  test('a value that is none is refused', async () => {
    const request = { Frontend: 'dockerfile.v0', FrontendAttrs: { 'verify-reproducible': 'perhaps' } };
    const dir = folder(fixed);
    const error = await failure(kit.solve(request, { dirs: { context: dir, dockerfile: dir } }));
    expect(error.message).toContain('verify-reproducible is no truth value: "perhaps"');
  });
});
