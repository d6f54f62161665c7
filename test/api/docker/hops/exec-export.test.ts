/**
 * Steps that fail while they run, and results that cannot be written: the client reads the step and its line, the exit
 * code or what refused, and what to do. No container, mount or half image stays.
 */
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { detectCgroups } from '../../../../src/executor/cgroups.ts';
import { ApiBuilds, shellContext } from '../../../kit/api-builds.ts';
import { tarOf } from '../../../kit/images.ts';
import { Status } from '../../../kit/session/grpc-server.ts';
import { SessionClient } from '../../../kit/session/session-client.ts';
import { onStores } from '../../../kit/stores.ts';

onStores('a result', (store) => {
  let builds: ApiBuilds;
  beforeAll(async () => {
    builds = await ApiBuilds.open(store);
  });
  afterAll(() => builds.stop());
  afterEach(async () => {
    expect(await builds.tags()).not.toContain('half:1');
    expect(await builds.leftBehind()).toEqual([]);
  });

  describe('a step fails', () => {
    test.each([
      ['exits with 3', 'RUN echo said && exit 3', 3, /exit code: 3/, undefined],
      ['is killed', "RUN sh -c 'kill -9 $$'; exit $?", 137, /exit code: 137/, /SIGKILL/],
      [
        'ends by a signal',
        "RUN sh -c 'kill -SEGV $$'; exit $?",
        139,
        /exit code: 139/,
        /signal 11 \(SIGSEGV\)/,
      ],
      ['has no such command', 'RUN nosuchcommand --x', 127, /exit code: 127/, /installed in this stage/],
      ['has no such program', 'RUN ["/nosuchprogram"]', 127, /exit code: 127/, /installed in this stage/],
      [
        'has a program that is a text',
        'COPY f /f\nRUN ["/f"]',
        1,
        /exit code: 1/,
        /another platform .* or is a script without #!/,
      ],
      ['has no shell', 'SHELL ["/bin/bash", "-c"]\nRUN x', 127, /exit code: 127/, /installed in this stage/],
    ] as const)('%s', async (_, steps, code, says, hint) => {
      const line = 2 + steps.split('\n').length;
      for (const version of [1, 2]) {
        const { error, exitCode } = await builds.build(
          shellContext(steps, { f: { data: 'no program', mode: 0o755 } }),
          `version=${version}&t=half:1`,
        );
        // docker's CLI ends with the code of version 1; BuildKit's protocol has none.
        expect(exitCode).toBe(version === 1 ? code : undefined);
        // Version 1 shows the step above it, and says this in docker's words.
        expect(error).toMatch(version === 1 ? /^The command '/ : /^failed to build: \[\d\/\d\] RUN /);
        expect(error).toMatch(version === 1 ? new RegExp(`returned a non-zero code: ${code}`) : says);
        expect(error).toContain(`(Dockerfile:${line})`);
        if (hint !== undefined) expect(error?.slice(error.indexOf('hint:'))).toMatch(hint);
      }
    });

    test('for want of memory, where this machine has a cgroup for it', async () => {
      // Bytes of a variable that doubles: busybox's shell holds them all.
      const steps = 'RUN x=0123456789abcdef; while true; do x=$x$x; done';
      if (!detectCgroups().controllers.has('memory')) {
        const { log } = await builds.ok(shellContext('RUN : no limits'), `memory=${32 << 20}`);
        expect(log).toContain('this host has no memory cgroup: its limits are not applied');
        return;
      }
      const { error } = await builds.build(
        shellContext(steps),
        `t=half:1&memory=${32 << 20}&memswap=${32 << 20}`,
      );
      expect(error).toContain('cannot allocate memory');
      expect(error).toContain('(Dockerfile:3)');
      expect(error).toContain('at the memory limit of 32MiB)');
      expect(error).toContain('hint: Allow it more (--memory');
    });

    test('the user that it is to run as is not there', async () => {
      const error = await builds.error(shellContext('USER nobody-here\nRUN true'), 't=half:1');
      expect(error).toMatch(/^failed to build: \[\d\/\d\] RUN true: .*nobody-here/);
      expect(error).toContain('(Dockerfile:4)');
      expect(error).toMatch(/hint: /);
    });

    test('the Dockerfile does not parse', async () => {
      for (const version of [1, 2]) {
        const { answer, error } = await builds.build(
          'FROM scratch\nRUM echo\n',
          `version=${version}&t=half:1`,
        );
        const message = error ?? answer.text;
        expect(message).toContain('unknown instruction: RUM');
        expect(message).toContain('Dockerfile:2');
        expect(message).toMatch(/did you mean RUN/i);
      }
    });

    test('a file that COPY wants is not there', async () => {
      const error = await builds.error('FROM scratch\nCOPY nothing.txt /\n', 't=half:1');
      expect(error).toMatch(/^failed to build: \[1\/1\] COPY nothing\.txt \/: .*nothing\.txt.*not found/);
      expect(error).toContain('(Dockerfile:2)');
      expect(error).toContain('at hop: file');
    });

    test('a secret that the client does not have', async () => {
      const error = await builds.error(
        shellContext('RUN --mount=type=secret,id=key,required=true cat /run/secrets/key'),
        't=half:1',
      );
      expect(error).toMatch(/^failed to build: \[\d\/\d\] RUN --mount.*: .*secret key/);
      expect(error).toContain('(Dockerfile:3)');
      expect(error).toMatch(/hint: .*--secret/);
    });
  });

  describe('an output over the session', () => {
    const files = { Dockerfile: 'FROM scratch\nCOPY tree /\n', 'tree/a': 'a', 'tree/sub/b': 'bb' };
    const outputs = (...list: { Type: string; Attrs?: Record<string, string> }[]) =>
      `outputs=${encodeURIComponent(JSON.stringify(list.map(({ Type, Attrs = {} }) => ({ Type, Attrs }))))}`;
    const connected = async (options: ConstructorParameters<typeof SessionClient>[0]) => {
      const client = new SessionClient(options);
      await client.connect(builds.daemon.socket);
      return client;
    };

    test('a folder at the client gets the files', async () => {
      const dir = mkdtempSync(join(builds.daemon.dir, 'out-'));
      writeFileSync(join(dir, 'there'), 'before');
      const client = await connected({ outputs: { 0: { dir } } });
      await builds.ok(files, `${outputs({ Type: 'local' })}&session=${client.id}`);
      client.close();
      expect(readdirSync(dir, { recursive: true }).sort()).toEqual(['a', 'sub', 'sub/b', 'there']);
      expect(readFileSync(join(dir, 'sub/b'), 'utf8')).toBe('bb');
    });

    test.each(['tar', 'oci', 'docker'])('a file at the client gets the %s archive', async (Type) => {
      const file = join(builds.daemon.dir, `${Type}.tar`);
      const client = await connected({ outputs: { 0: { file } } });
      await builds.ok(files, `${outputs({ Type })}&session=${client.id}&t=half:1`);
      client.close();
      const tar = readFileSync(file);
      const wanted = { tar: 'sub/b', oci: 'index.json', docker: 'manifest.json' }[Type] ?? '';
      expect(tar.includes(Buffer.from(`${wanted}\0`))).toBe(true);
    });

    test('two outputs go to two places', async () => {
      const dir = mkdtempSync(join(builds.daemon.dir, 'out-'));
      const file = join(builds.daemon.dir, 'both.tar');
      const client = await connected({ outputs: { 0: { dir }, 1: { file } } });
      await builds.ok(files, `${outputs({ Type: 'local' }, { Type: 'tar' })}&session=${client.id}`);
      client.close();
      expect(readFileSync(join(dir, 'a'), 'utf8')).toBe('a');
      expect(readFileSync(file).includes(Buffer.from('sub/b\0'))).toBe(true);
    });

    test('without a session there is nowhere to go: refused before anything is built', async () => {
      const { answer } = await builds.build(files, outputs({ Type: 'local' }));
      expect(answer.text).toContain(
        'outputs: type=local goes to the client over its session, and none is named',
      );
    });

    test.each(['local', 'tar'])('the client cannot write it (%s)', async (Type) => {
      const client = await connected({
        handlers: {
          '/moby.filesync.v1.FileSend/DiffCopy': async () => {
            throw new Status(7, 'open /srv/out/a: permission denied');
          },
        },
      });
      const error = await builds.error(files, `${outputs({ Type })}&session=${client.id}`);
      client.close();
      expect(error).toMatch(
        /^failed to build: exporting to client (directory|tarball): asking the client for a (folder|place)/,
      );
      expect(error).toContain('it answered: open /srv/out/a: permission denied');
      expect(error).toContain('at hop: session');
      expect(error).toMatch(/hint: /);
    });

    test('the client’s disk is full in the middle', async () => {
      const client = await connected({
        handlers: {
          '/moby.filesync.v1.FileSend/DiffCopy': async (call) => {
            for await (const _ of call.messages)
              throw new Status(8, 'write out.tar: no space left on device');
          },
        },
      });
      const error = await builds.error(
        tarOf({ ...files, 'tree/big': Buffer.alloc(4 << 20, 1) }),
        `${outputs({ Type: 'tar' })}&session=${client.id}`,
      );
      client.close();
      expect(error).toContain('exporting to client tarball');
      expect(error).toContain('write out.tar: no space left on device');
      expect(error).toContain('at hop: session');
      // It is the client's disk, not ours.
      expect(error).not.toContain(builds.daemon.dir);
    });

    test('the client goes away in the middle', async () => {
      const client = await connected({
        handlers: {
          '/moby.filesync.v1.FileSend/DiffCopy': async (call) => {
            for await (const _ of call.messages) client.close();
          },
        },
      });
      const error = await builds.error(
        tarOf({ ...files, 'tree/big': Buffer.alloc(4 << 20, 1) }),
        `${outputs({ Type: 'tar' })}&session=${client.id}`,
      );
      expect(error).toContain(`its session ${client.id} is gone`);
      expect(error).toContain('at hop: session');
      expect(error).toContain('hint: The client must keep its session open');
    });
  });
});
