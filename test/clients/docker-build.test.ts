/** `docker build`, with BuildKit over a session and as docker's builder of old, on both stores. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { DockerOptions } from '../kit/daemon.ts';
import { onDockerClis } from '../kit/docker-clis.ts';

onDockerClis('docker build', (cli) => {
  const { docker, idOf, contextOf } = cli;

  describe.each(cli.builders)('DOCKER_BUILDKIT=%s', (builder) => {
    const build = (args: string[], options: DockerOptions = {}) =>
      cli.run(['build', ...args], { ...options, env: { DOCKER_BUILDKIT: builder } });
    const mark = `v${cli.version.replace('.', '')}-${builder}`;
    const tag = (name: string) => `${name}:${mark}`;

    test('builds, and takes the same from the cache', async () => {
      const step = `RUN echo said && echo ${mark} > /out`;
      const context = contextOf(step);
      const first = await build(['-t', tag('app'), context]);
      expect(first, first.stderr).toMatchObject({ code: 0 });
      const second = await build(['-t', tag('app'), '-t', tag('also'), context]);
      expect(second, second.stderr).toMatchObject({ code: 0 });
      const id = await idOf(tag('app'));
      expect(await idOf(tag('also'))).toBe(id);
      if (builder === '1') {
        expect(first.stderr).toMatch(/^#\d+ transferring context: [\d.]+MB/m);
        expect(first.stderr).toMatch(/^#\d+ .*said$/m);
        expect(first.stderr).toContain(` [2/2] ${step}\n`);
        expect(second.stderr).toMatch(/\[2\/2\] RUN echo said.*\n#\d+ sha256:\w+\n#\d+ CACHED/);
        expect(second.stderr).toContain(`naming to docker.io/library/${tag('app')}`);
      } else {
        expect(first.stdout).toMatch(/^Sending build context to Docker daemon/);
        expect(first.stdout).toContain(`Step 3/3 : ${step}\n ---> Running in `);
        expect(first.stdout).toContain('\nsaid\n');
        expect(second.stdout).toMatch(/Step 3\/3 : RUN[^\n]*\n ---> Using cache\n/);
        expect(second.stdout.split('\n').slice(-4)).toEqual([
          `Successfully built ${id.slice(7, 19)}`,
          `Successfully tagged ${tag('app')}`,
          `Successfully tagged ${tag('also')}`,
          '',
        ]);
      }
    });

    test('a failing step: its output, its code, and which step it was', async () => {
      const failed = await build(['-t', tag('broken'), contextOf('RUN echo oh >&2; exit 42')]);
      expect(failed.code).toBe(builder === '1' ? 1 : 42);
      expect(failed.stdout + failed.stderr).toMatch(/^(#\d+ [\d.]+ )?(\u001b\[91m)?oh/m);
      if (builder === '1') {
        expect(failed.stderr).toContain('[2/2] RUN echo oh >&2; exit 42');
        expect(failed.stderr).toContain('exit code: 42 (Dockerfile:3)');
      } else {
        expect(failed.stderr).toContain(
          "'/bin/sh -c echo oh >&2; exit 42' returned a non-zero code: 42 (Dockerfile:3)",
        );
      }
      expect((await cli.run(['inspect', tag('broken')])).code).toBe(1);
    });

    test('the quiet form of it says nothing, unless it fails: then it says all', async () => {
      const failed = await build(['-q', contextOf('RUN echo oh; exit 43')]);
      expect(failed.code).toBe(builder === '1' ? 1 : 43);
      expect(failed.stderr).toMatch(builder === '1' ? /^#\d+ [\d.]+ oh$/m : /Step 3\/3 : RUN[\s\S]*\noh\n/);
    });

    test('a Dockerfile that is wrong, and a base image that is nowhere', async () => {
      const wrong = await build([contextOf('NONSENSE x')]);
      expect(wrong.code).not.toBe(0);
      expect(wrong.stderr).toMatch(/unknown instruction: NONSENSE/i);
      const nowhere = await build([contextOf(`FROM ${cli.registry.host}/nowhere:1`)]);
      expect(nowhere.code).not.toBe(0);
      expect(nowhere.stderr).toMatch(/\/nowhere:1.*(not found|unknown)/);
    });

    if (!cli.thorough) return;

    test('arguments, labels, a target, .dockerignore, the quiet form and the file with the ID', async () => {
      const steps = [
        'FROM scratch AS first',
        'COPY busybox /bin/sh',
        'ARG WHO',
        'COPY . /all',
        'RUN test ! -e /all/ignored && echo "for $WHO"',
        'FROM scratch',
        'LABEL last=1',
      ];
      const files = { ignored: 'x', kept: mark, '.dockerignore': 'ignored\n' };
      const context = contextOf(steps.join('\n'), files);
      const iidfile = join(cli.daemon.dir, `id-${builder}`);
      const options = ['--build-arg', 'WHO=me', '--label', 'a=b', '--target', 'first'];
      const first = await build([...options, '-t', tag('opts'), '--iidfile', iidfile, context]);
      expect(first, first.stderr).toMatchObject({ code: 0 });
      expect(first.stdout + first.stderr).toContain('for me');
      const id = await idOf(tag('opts'));
      expect(readFileSync(iidfile, 'utf8')).toBe(id);
      expect(await docker('inspect', '--format', '{{json .Config.Labels}}', id)).toBe('{"a":"b"}\n');
      expect(await build(['-q', ...options, context])).toMatchObject({ code: 0, stdout: `${id}\n` });
    });

    test('a Dockerfile, a whole context, and a Dockerfile beside a context, from stdin', async () => {
      const alone = await build(['-t', tag('stdin'), '-'], { input: 'FROM scratch\nLABEL from=stdin\n' });
      expect(alone, alone.stderr).toMatchObject({ code: 0 });
      expect(await docker('inspect', '--format', '{{.Config.Labels.from}}', tag('stdin'))).toBe('stdin\n');
      const tar = execFileSync('tar', ['cz', '-C', contextOf('RUN echo packed'), '.']);
      const packed = await build(['-'], { input: tar });
      expect(packed, packed.stderr).toMatchObject({ code: 0 });
      const input = 'FROM scratch\nCOPY a /\n';
      const aside = await build(['-f', '-', contextOf('RUN exit 1', { a: mark })], { input });
      expect(aside, aside.stderr).toMatchObject({ code: 0 });
    });

    test('--no-cache runs the steps again', async () => {
      const context = contextOf('RUN read x < /proc/sys/kernel/random/uuid && echo $x > /out');
      const ids: string[] = [];
      for (const flags of [[], [], ['--no-cache']]) {
        ids.push((await build(['-q', ...flags, context])).stdout.trim());
      }
      expect(ids[1]).toBe(ids[0]);
      expect(ids[2]).not.toBe(ids[0]);
    });

    if (builder === '0') return;

    test('secrets, cache mounts, and files as output', async () => {
      const secret = join(cli.daemon.dir, 'secret');
      writeFileSync(secret, 's3cret\n');
      const context = contextOf(
        'RUN --mount=type=secret,id=s,required=true --mount=type=cache,target=/c ' +
          'read x < /run/secrets/s; echo "$x" > /copied; echo "$x" > /c/kept',
      );
      const dest = join(cli.daemon.dir, 'out');
      const built = await build(['--secret', `id=s,src=${secret}`, '-o', dest, context]);
      expect(built, built.stderr).toMatchObject({ code: 0 });
      expect(readFileSync(join(dest, 'copied'), 'utf8')).toBe('s3cret\n');
      const without = await build(['--no-cache', context]);
      expect(without.code).not.toBe(0);
      expect(without.stderr).toMatch(/secret/);
    });
  });
});
