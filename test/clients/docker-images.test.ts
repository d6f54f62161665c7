/** What one does with images on docker's command line, on both stores. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { onDockerClis } from '../kit/docker-clis.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';

onDockerClis('images', (cli) => {
  const { docker, idOf, contextOf, run } = cli;
  /** The repository of this CLI's images. */
  const app = `app-${cli.version.replace('.', '')}`;
  const build = (args: string[], builder: '0' | '1' = '0') =>
    run(['build', ...args], { env: { DOCKER_BUILDKIT: builder } });
  let id: string;
  beforeAll(async () => {
    const context = contextOf(`RUN echo ${app} > /out\nLABEL of=${app}\nENV X=y`);
    const built = await build(['-q', '-t', `${app}:1`, context]);
    expect(built, built.stderr).toMatchObject({ code: 0 });
    id = await idOf(`${app}:1`);
  });

  test('images, inspect, history', async () => {
    const listed = await docker('images', '--no-trunc', '--format', '{{.ID}} {{.Repository}}:{{.Tag}}');
    expect(listed).toContain(`${id} ${app}:1\n`);
    const filters = ['--filter', `label=of=${app}`, '--filter', `reference=${app}`];
    expect(await docker('images', '-q', ...filters)).toBe(`${id.slice(7, 19)}\n`);
    const env = await docker('image', 'inspect', '--format', '{{json .Config.Env}}', id.slice(7, 19));
    expect(env).toContain('X=y');
    const history = await docker('history', '--format', '{{.CreatedBy}}', '--no-trunc', `${app}:1`);
    expect(history).toMatch(/^ENV X=y\nLABEL of=\S+\nRUN .*echo \S+ > \/out.*\nCOPY busybox \/bin\/sh/);
  });

  test('tag, rmi', async () => {
    await docker('tag', `${app}:1`, 'named:1');
    expect(await docker('rmi', 'named:1')).toBe('Untagged: named:1\n');
    const gone = await run(['rmi', 'named:1']);
    expect(gone).toMatchObject({ code: 1, stderr: expect.stringContaining('No such image: named:1') });
    await docker('tag', `${app}:1`, 'other/named:1');
    const byId = await run(['rmi', id]);
    expect(byId.code).toBe(1);
    expect(byId.stderr).toMatch(/conflict: unable to delete .*must be forced/);
    await docker('rmi', 'other/named:1');
  });

  test('push, pull: each layer once, and what became of it', async () => {
    const name = `${cli.registry.host}/${app}:1`;
    await docker('tag', `${app}:1`, name);
    const pushed = await docker('push', name);
    expect(pushed).toMatch(
      /^The push refers to repository \[\S+\]\n([0-9a-f]{12}: (Preparing|Pushed|Pushing.*)\n)+1: digest: sha256:[0-9a-f]{64} size: \d+\n$/,
    );
    // busybox may be there already, pushed as another image's.
    expect(pushed.match(/: (Pushed|Mounted from \S+)$/gm)).toHaveLength(2);
    const again = await docker('push', name);
    expect(again.match(/: Layer already exists$/gm)).toHaveLength(2);
    expect(again).not.toMatch(/Pushed/);
    const digest = /digest: (sha256:\w+)/.exec(again)?.[1] ?? '';
    expect(await docker('push', '-q', name)).toBe(`${name}\n`);
    await docker('rmi', name);
    const pulled = await docker('pull', name);
    expect(pulled).toMatch(new RegExp(`^1: Pulling from ${app}\n`));
    expect(pulled.split('\n').slice(-4)).toEqual([
      `Digest: ${digest}`,
      `Status: Downloaded newer image for ${name}`,
      name,
      '',
    ]);
    expect(await docker('pull', name)).toContain(`Status: Image is up to date for ${name}\n`);
    expect(await idOf(name)).toBe(id);
    expect(await idOf(name.replace(/:1$/, `@${digest}`))).toBe(id);
  });

  test('push, pull of what is not there', async () => {
    const missing = await run(['pull', `${cli.registry.host}/${app}:none`]);
    expect(missing.code).toBe(1);
    expect(missing.stderr).toMatch(/not found|unknown/);
    const unpushed = await run(['push', 'never/heard/of:1']);
    expect(unpushed.code).toBe(1);
    expect(unpushed.stderr).toContain('does not exist locally with the tag: never/heard/of:1');
  });

  test('save, load, import', async () => {
    const file = join(cli.daemon.dir, `${app}.tar`);
    const names = [`kept-${app}:1`, `kept-${app}:2`];
    for (const name of names) await docker('tag', `${app}:1`, name);
    await docker('save', '-o', file, ...names);
    await docker('rmi', ...names);
    expect(await docker('load', '-i', file)).toBe(names.map((name) => `Loaded image: ${name}\n`).join(''));
    expect(await idOf(names[1] as string)).toBe(id);
    const piped = await run(['load'], { input: readFileSync(file) });
    expect(piped).toMatchObject({ code: 0, stdout: expect.stringContaining(`Loaded image: ${names[0]}`) });
    const tree = join(cli.daemon.dir, 'tree.tar');
    execFileSync('tar', ['cf', tree, '-C', contextOf('', { a: 'imported' }), 'a']);
    expect(await docker('import', '-c', 'CMD ["x"]', tree, `${app}-tree:1`)).toMatch(/^sha256:/);
    const based = await build(['-q', contextOf(`FROM ${app}-tree:1\nCOPY --from=${app}-tree:1 /a /b`)]);
    expect(based, based.stderr).toMatchObject({ code: 0 });
  });

  test('run: containers do not run here, and docker says so', async () => {
    const { code, stderr } = await run(['run', '--rm', `${app}:1`, 'true']);
    expect(code).not.toBe(0);
    expect(stderr).toContain('does not run containers');
  });

  if (!cli.thorough) return;

  test('info, version, system df, prune', async () => {
    expect(await docker('version')).toContain('Drydock');
    expect(await docker('info')).toContain('Server Version');
    expect(await docker('system', 'df')).toContain('Build Cache');
    expect(await docker('ps', '-a', '-q')).toBe('');
    expect(await docker('image', 'prune', '-f')).toContain('Total reclaimed space');
    expect(await docker('system', 'prune', '-f')).toContain('Total reclaimed space');
  });

  describe('an account at a registry', () => {
    let closed: TestRegistry;
    let name: string;
    beforeAll(async () => {
      closed = await startRegistry({ basic: { username: 'ann', password: 's3cret' } });
      name = `${closed.host}/private:1`;
      await docker('tag', `${app}:1`, name);
    });
    afterAll(() => closed.stop());
    const login = (password: string) =>
      run(['login', '-u', 'ann', '--password-stdin', closed.host], { input: password });

    test('login: the registry is asked; push, pull and FROM use the account', async () => {
      const without = await run(['push', name]);
      expect(without.code).toBe(1);
      expect(without.stderr).toMatch(/answered 401 .*docker login/);
      const wrong = await login('nope');
      expect(wrong.code).toBe(1);
      expect(wrong.stderr).toMatch(/unauthorized|401/i);
      expect(await login('s3cret')).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('Login Succeeded'),
      });
      expect(await docker('push', name)).toContain('digest: sha256:');
      await docker('rmi', name);
      expect(await docker('pull', name)).toContain('Downloaded newer image');
      await docker('rmi', name);
      for (const builder of cli.builders) {
        const built = await build(
          ['--no-cache', '--pull', contextOf(`FROM ${name}\nRUN echo ${builder}`)],
          builder,
        );
        expect(built, built.stderr).toMatchObject({ code: 0 });
      }
      await docker('logout', closed.host);
      expect((await run(['pull', name])).code).toBe(1);
    });
  });
});
