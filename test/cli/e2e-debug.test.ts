/** `--on-error` and `--invoke`: a shell, commands and files of a failed step and of a result. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, renameSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { openEngine } from '../../src/engine/engine.ts';
import { addProgram, busyboxRoot } from '../kit/busybox.ts';
import { Cli } from '../kit/cli.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { onStores } from '../kit/stores.ts';
import { Terminal } from '../kit/terminal.ts';

const program = join(import.meta.dirname, '../../bin/drydock');

/** Leaves files in the root, a mount and a cache, and fails. */
const failing = `FROM scratch AS given
COPY given /given
FROM scratch
COPY root /
ENV PATH=/bin COLOR=blue
WORKDIR /work
USER 1000
RUN --mount=from=given,target=/rw,rw --mount=type=cache,target=/cache,uid=1000 \\
    --mount=type=secret,id=word,uid=1000 --mount=type=secret,id=word,env=WORD \\
    echo told; echo \${COLOR}-left > /tmp/left; mkdir -p /tmp/reports/deep; echo one > /tmp/reports/one.xml; \\
    echo two > /tmp/reports/deep/two.xml; ln -s /etc/passwd /tmp/reports/link; chmod 600 /tmp/reports/one.xml; exit 3
`;

onStores('looking into a build', (store) => {
  const cli = new Cli();
  let daemon: TestDaemon;
  let dir: string;

  beforeAll(async () => {
    daemon = await startTestDaemon({ ...store.options(), grpc: (host) => buildkitApi(host) });
    dir = cli.files('app', { Dockerfile: failing, given: 'given\n', word: 'hush', 'root/tmp/': '' });
    busyboxRoot(join(dir, 'root'));
    execFileSync('chmod', ['1777', join(dir, 'root/tmp')]);
  });
  afterAll(async () => {
    await daemon?.stop();
    cli.close();
  });

  // The way to the process that has the step makes no difference to the store.
  const places = store.kind === 'local' ? ['in this process', 'at a daemon'] : ['at a daemon'];
  describe.each(places)('%s', (place) => {
    let env: Record<string, string>;
    beforeAll(() => {
      env = place === 'at a daemon' ? { DRYDOCK_HOST: daemon.host } : store.env();
    });
    const build = (input: string, ...args: string[]) =>
      cli.run(['build', '--progress=plain', '--secret', `id=word,src=${dir}/word`, ...args, dir], {
        env,
        input,
      });

    test('commands from stdin run in the failed step, with what it had', async () => {
      const script = [
        'cat /tmp/left /rw/given /run/secrets/word; echo " $WORD"',
        'echo $COLOR $PWD $(id -u); ls -d /cache; echo err >&2; exit 7',
      ];
      const { code, stdout, stderr } = await build(script.join('\n'), '--on-error=shell');
      expect(code).toBe(1);
      expect(stdout).toBe('blue-left\ngiven\nhush hush\nblue /work 1000\n/cache\n');
      expect(stderr).toMatch(/A shell in the failed step, in \/work[\s\S]*err\nIt ended with exit code 7\./);
      // The failure is told before the shell and after it.
      expect(stderr.match(/exit code: 3$/gm)?.length).toBeGreaterThanOrEqual(2);
      expect(stderr).toMatch(/ERROR: failed to solve: process .*exit code: 3\n$/);
    });

    test('a command in the place of the shell; its input', async () => {
      const { stdout } = await build(
        'typed\n',
        '--on-error=shell',
        '--invoke=read line; echo got $line $COLOR',
      );
      expect(stdout).toBe('got typed blue\n');
    });

    test('files of the failed step are brought out; no symlink here is followed', async () => {
      const dest = join(cli.dir, `reports-${place.length}-${store.kind}`);
      const spec = `export,dest=${dest},src=/tmp/reports,src=../rw/given,src=/none`;
      for (const _ of place === 'at a daemon' ? ['new'] : ['new', 'again']) {
        const { code, stderr } = await build('', '--on-error', spec);
        expect(code).toBe(1);
        expect(stderr).toContain(`Brought 3 files of /tmp/reports of the failed step to ${dest}\n`);
        expect(stderr).toMatch(/WARNING: --on-error: \/none: .*no such file/);
        expect(readdirSync(dest).sort()).toEqual(['given', 'reports']);
        expect(readFileSync(join(dest, 'reports/deep/two.xml'), 'utf8')).toBe('two\n');
        expect(readFileSync(join(dest, 'given'), 'utf8')).toBe('given\n');
        // What was there is replaced, and a link to elsewhere is not gone through.
        execFileSync('rm', ['-r', join(dest, 'reports/deep')]);
        symlinkSync(cli.files('elsewhere', { keep: 'kept' }), join(dest, 'reports/deep'));
      }
      expect(existsSync(join(cli.dir, 'elsewhere/two.xml'))).toBe(false);
    });

    test('--invoke runs in the result before it is kept; its exit code is ours', async () => {
      const good = cli.files(`good-${store.kind}-${place.length}`, {
        Dockerfile: 'FROM scratch\nCOPY root /\nENV PATH=/bin A=1\nWORKDIR /w\nRUN echo made > made\n',
      });
      busyboxRoot(join(good, 'root'));
      const out = join(good, 'out.tar');
      const args = [
        'build',
        '-q',
        '-o',
        `type=oci,dest=${out}`,
        '--invoke=cat made; pwd; echo $A; touch new; exit 5',
      ];
      const { code, stdout } = await cli.run([...args, good], { env });
      expect([code, stdout.split('\n').slice(0, 3)]).toEqual([5, ['made', '/w', '1']]);
      // It was made as if nobody had looked.
      const plain = join(good, 'plain.tar');
      await cli.ok(['build', '-q', '-o', `type=oci,dest=${plain}`, good], { env });
      expect(readFileSync(out).equals(readFileSync(plain))).toBe(true);
    });

    test('drydock debug: in the place of a step, before it runs', async () => {
      const debug = (step: string, input = '') =>
        cli.run(['debug', '--secret', `id=word,src=${dir}/word`, step, dir], { env, input });
      const script =
        'cat /rw/given /run/secrets/word; echo " $WORD"; ls /tmp; echo $COLOR $PWD $(id -u); exit 6';
      for (const step of ['9', 'RUN --mount=from=given']) {
        const { code, stdout, stderr } = await debug(step, script);
        expect([code, stdout]).toEqual([6, 'given\nhush hush\nblue /work 1000\n']);
        expect(stderr).toContain('In the place of [stage-1 3/3] RUN --mount=from=given');
      }
      const missing = await debug('RUN other');
      expect(missing.stderr).toContain('no step of this build is named by "RUN other"');
    });

    const copies: [what: string, line: string, where: string, read: string][] = [
      ['a file that is not there', 'COPY given give /x/', 'before', 'given\n'],
      ['a file that a stage lacks', 'COPY --from=other /none /', 'before', 'theirs\n'],
      ['a layer by itself', 'COPY --link given give /x/', 'before', 'given\n'],
      ['a download that is refused', 'ADD http://127.0.0.1:9/none /x/', 'before', ''],
      ['a place that cannot be written', 'COPY given /made/x/', 'in', 'given\n'],
    ];
    // What is made of a definition is the same on each road.
    test.each(place === 'at a daemon' ? copies.slice(0, 2) : copies)(
      'a COPY or ADD that fails, %s: a shell where it would write, with what it reads',
      async (_, line, where, read) => {
        const steps = [
          'FROM scratch AS other\nCOPY given /theirs',
          `FROM scratch\nCOPY root /\nRUN echo made > /made\n${line}\nRUN false\n`,
        ];
        cli.files('app', { 'copies.Dockerfile': steps.join('\n') });
        const script = 'cat /made; cd /run/drydock/source && ls given theirs; touch /new; exit 4';
        const args = ['--on-error=shell', '-f', join(dir, 'copies.Dockerfile')];
        const { code, stdout, stderr } = await build(`${script} 2> /dev/null`, ...args);
        expect([code, stdout]).toEqual([1, `made\n${read}`]);
        expect(stderr).toContain(`A shell ${where} the failed step, in /; the build ends with it.\n`);
        expect(stderr.includes('The files that it reads are in /run/drydock/source.\n')).toBe(read !== '');
        expect(stderr).toMatch(/ERROR: failed to solve: .*\n {2}at .*step: .*(COPY|ADD)/);
        // In its place before it runs, by its line.
        const debug = ['debug', '--progress=plain', '-f', join(dir, 'copies.Dockerfile'), '6', dir];
        expect((await cli.run(debug, { env, input: script })).stdout).toBe(`made\n${read}`);
      },
    );

    test('what comes before a COPY that fails, and fails as well, is told', async () => {
      cli.files('app', {
        'both.Dockerfile': `FROM scratch\nCOPY root /\nRUN sleep 1; exit 9\nCOPY none /\n`,
      });
      const { code, stderr } = await build('', '--on-error=shell', '-f', join(dir, 'both.Dockerfile'));
      expect(code).toBe(1);
      expect(stderr).toMatch(/WARNING: --on-error: .*exit code: 9|A shell in the failed step/);
    });

    test('drydock bake looks into the first target that fails', async () => {
      cli.files('app', { 'docker-bake.hcl': 'target "default" { secret = ["id=word,src=word"] }' });
      const args = ['bake', '--progress=plain', '--allow=fs.read=*', '--on-error=shell'];
      const { code, stdout, stderr } = await cli.run(args, {
        env,
        cwd: dir,
        input: 'cat /tmp/left; exit 0\n',
      });
      expect([code, stdout]).toEqual([1, 'blue-left\n']);
      expect(stderr).toMatch(/ERROR: target default: failed to solve: process/);
    });

    test('a terminal: keys, ^C, the size and its changes; then the build fails as ever', async () => {
      const args = ['build', '--secret', `id=word,src=${dir}/word`, '--on-error=shell', dir];
      const terminal = new Terminal(program, args, cli.environment({ ...env, TERM: 'xterm' }), [30, 100]);
      await terminal.until(/A shell in the failed step/);
      // The container's terminal learns its size once it runs.
      const sized = (size: string) => `while [ "$(busybox stty size)" != "${size}" ]; do sleep 0.1; done`;
      terminal.type(`${sized('30 100')}; echo $TERM-$COLOR\r`);
      await terminal.until(/xterm-blue/);
      // A key that is pressed before the command runs is another program's: the shell's, which goes on to it. So the
      // command itself says that it has the terminal.
      terminal.type("sh -c 'echo one-$((1)); exec sleep 1000'\r");
      await terminal.until(/one-1\r/);
      terminal.type('\x03');
      terminal.type('echo code-$?\r');
      await terminal.until(/code-130\r/);
      terminal.resize(41, 99);
      terminal.type(`${sized('41 99')}; echo two-$((2))\r`);
      await terminal.until(/two-2\r/);
      terminal.type('echo bye; exit\r');
      await terminal.until(/bye\r+\n/);
      expect(await terminal.code).toBe(1);
      expect(terminal.shown.slice(terminal.shown.lastIndexOf('echo bye'))).toMatch(
        /ERROR: failed to solve: process/,
      );
      terminal.close();
    });
  });
});

describe.each(['in this process', 'at a daemon'])('a build of the past, %s', (place) => {
  const cli = new Cli();
  let daemon: TestDaemon | undefined;
  let env: Record<string, string> = {};
  let dir: string;
  const text = `FROM scratch
COPY root /
ARG WHO=nobody TOKEN
ENV PATH=/bin
WORKDIR /work
RUN echo $WHO > who
RUN --mount=type=secret,id=word cat who /none
RUN true
`;
  beforeAll(async () => {
    if (place === 'at a daemon') {
      // Plain TCP, which answers under names of its own machine alone.
      const hosts = ['tcp://127.0.0.1:0'];
      daemon = await startTestDaemon({ hosts, insecureTcp: true, grpc: (host) => buildkitApi(host) });
      env = { DRYDOCK_HOST: daemon.addresses.find((each) => each.startsWith('tcp:')) ?? '' };
    }
    dir = cli.files('past', { Dockerfile: text, word: 'hush' });
    busyboxRoot(join(dir, 'root'));
  });
  afterAll(async () => {
    await daemon?.stop();
    cli.close();
  });
  const debug = (input: string, ...args: string[]) => cli.run(['debug', ...args], { env, input });
  const newest = async () => (await cli.ok(['history', 'ls', '-q'], { env })).stdout.split('\n')[0] ?? '';
  const failed = async (...args: string[]) => {
    const { code } = await cli.run(['build', '--build-arg', 'WHO=me', ...args, dir], { env });
    expect(code).toBe(1);
    return newest();
  };

  test('its failed step is opened, with the arguments that it had', async () => {
    const ref = await failed();
    const { code, stdout, stderr } = await debug('cat who; cat /run/secrets/word; exit 5', ref, dir);
    expect([code, stdout]).toEqual([5, 'me\n']);
    expect(stderr).toContain('In the place of [4/5] RUN --mount=type=secret,id=word cat who /none, in /work');
    expect(stderr).toContain('Its secret word is not given (--secret id=word,src=FILE).');
    const secret = ['--secret', `id=word,src=${join(dir, 'word')}`];
    expect((await debug('cat /run/secrets/word', ...secret, '^0', dir)).stdout).toBe('hush');
    expect((await debug('pwd; ls', ref.slice(0, 8), 'RUN echo', dir)).stdout).toBe('/work\n');
    expect((await debug('pwd; ls', ref, '6', dir)).stdout).toBe('/work\n');
  });

  test('its Dockerfile is that of the build, also when the folder has another one now', async () => {
    const ref = await failed();
    cli.files('past', { Dockerfile: 'FROM scratch\n' });
    const { stdout, stderr } = await debug('cat who', ref, dir);
    cli.files('past', { Dockerfile: text });
    expect(stdout).toBe('me\n');
    expect(stderr).toContain(`The Dockerfile is that of build ${ref}, which ${dir} does not have like this.`);
  });

  test('a build that was looked into can be opened again', async () => {
    const out = join(cli.dir, `out-${place.length}`);
    const ref = await failed('--on-error', `export,dest=${out},src=who`);
    expect((await debug('cat who', ref)).stdout).toBe('me\n');
  });

  test('a Dockerfile beside the context is found again', async () => {
    const beside = cli.files('beside', { 'x.Dockerfile': text.replace('RUN true', 'RUN echo beside') });
    const ref = await failed('-f', join(beside, 'x.Dockerfile'));
    const { stdout, stderr } = await debug('cat who', ref);
    expect(stdout).toBe('me\n');
    expect(stderr).not.toContain('does not have like this');
  });

  test('what the record does not have is named, and how it is given', async () => {
    const more = ['--build-context', `other=${dir}`, '--build-arg', 'TOKEN=hush-hush'];
    const ref = await failed(...more);
    // The folders are those of then, as long as they are there.
    expect((await debug('', ref)).stderr).toContain('Give what it lacks: --build-arg TOKEN=….');
    const opened = await debug('cat who', '--build-arg', 'TOKEN=hush-hush', ref);
    expect(opened.stdout).toBe('me\n');
    expect(opened.stderr).toContain(`The build context is that of build ${ref}: ${dir}\n`);
    renameSync(dir, `${dir}-moved`);
    const moved = await debug('', ref);
    renameSync(`${dir}-moved`, dir);
    expect(moved.stderr).toContain(
      'Give what it lacks: CONTEXT --build-context other=… --build-arg TOKEN=….',
    );
    expect((await debug('cat who', ...more, ref, dir)).stdout).toBe('me\n');
    expect((await debug('', 'abcdef01')).stderr).toContain('there is no build abcdef01 in the history');
    const good = cli.files('good', { Dockerfile: 'FROM scratch\nCOPY x /\n', x: '' });
    await cli.ok(['build', good], { env });
    expect((await debug('', await newest(), good)).stderr).toMatch(/no step of build \S+ has failed/);
    const text = 'FROM scratch\nCOPY root /\nCOPY none /\n';
    const copies = cli.files('copies', { Dockerfile: text, 'root/here': '' });
    busyboxRoot(join(copies, 'root'));
    expect((await cli.run(['build', copies], { env })).code).toBe(1);
    const copy = await debug('ls /run/drydock/source/root', await newest(), copies);
    expect(copy.stderr).toContain('In the place of [2/2] COPY none /');
    expect(copy.stdout).toMatch(/^bin\n.*here/s);
  });
});

describe('a shell that is killed', () => {
  const cli = new Cli();
  afterAll(() => cli.close());

  test('leaves nothing behind: no process, mount or snapshot', async () => {
    const dir = cli.files('kill', {
      Dockerfile: 'FROM scratch\nCOPY root /\nENV PATH=/bin\nRUN exit 3\n',
    });
    busyboxRoot(join(dir, 'root'));
    const terminal = new Terminal(program, ['build', '--on-error=shell', dir], cli.environment());
    await terminal.until(/A shell in the failed step/);
    terminal.type('echo up-$((1 + 1)); exec sleep 31.4159\r');
    await terminal.until(/up-2\r/);
    const sleeping = () => spawnSync('pgrep', ['-xf', 'sleep 31.4159'], { encoding: 'utf8' }).stdout;
    while (sleeping() === '') await new Promise((resolve) => setTimeout(resolve, 50));
    const [pid = ''] = execFileSync('pgrep', ['-P', String(terminal.child.pid)], { encoding: 'utf8' }).split(
      '\n',
    );
    process.kill(Number(pid), 'SIGKILL');
    await terminal.code;
    terminal.close();
    // The next command on this root sweeps.
    await cli.ok(['images']);
    while (sleeping() !== '') await new Promise((resolve) => setTimeout(resolve, 50));
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(cli.root);
    const engine = await openEngine({ root: cli.root });
    try {
      const names = [...(await engine.store.leases.list()).map(({ id }) => id)];
      await engine.store.gc();
      names.push(...(await engine.store.snapshots.list()).map(({ key }) => key));
      expect(names.filter((name) => /^(failed|exec-active)-/.test(name))).toEqual([]);
    } finally {
      await engine.close();
    }
  });
});

describe('what cannot be', () => {
  const cli = new Cli();
  afterAll(() => cli.close());

  test('is refused before anything is built', async () => {
    const dir = cli.files('none', { Dockerfile: 'FROM scratch\n' });
    const refused = async (...args: string[]) => (await cli.run(['build', ...args, dir])).stderr;
    expect(await refused('--on-error=shall')).toContain('want shell, or export,dest=FOLDER,src=PATH');
    expect(await refused('--on-error=export,dest=x')).toContain('it needs src=PATH');
    expect(await refused('--on-error=export,src=x')).toContain('it needs dest=FOLDER');
    expect(await refused('--on-error=export,dest=x,src=y,z=1')).toContain('unexpected "z=1"');
    expect(await refused('--on-error=shell', '--check')).toContain('build checks run no step');
    const debug = await cli.run(['debug', '--push', '1', dir]);
    expect(debug.stderr).toContain('drydock debug has no --push: it makes no result');
    expect(await refused('--on-error=shell', '-f', '-')).toContain('stdin is what is typed into the shell');
  });

  test('a tree without a shell, and a step that left nothing, are told', async () => {
    const dir = cli.files('bare', { Dockerfile: 'FROM none.invalid/none\n' });
    const missing = await cli.run(['build', '--on-error=shell', dir]);
    expect(missing.stderr).toContain('what failed has left no files that could be looked into');
    cli.files('bare', { Dockerfile: 'FROM scratch\nCOPY none /\n' });
    const empty = await cli.run(['build', '--on-error=shell', dir]);
    expect(empty.stderr).toContain('there is no shell in the tree of this step');
    const bare = cli.files('static', { Dockerfile: 'FROM scratch\nCOPY root /\nRUN ["/bin/false"]\n' });
    addProgram('/bin/false', join(bare, 'root'));
    const { code, stderr } = await cli.run(['build', '--on-error=shell', bare]);
    expect(code).toBe(1);
    expect(stderr).toContain('there is no shell in the tree of this step');
    expect(stderr).toMatch(/exit code: 1\n$/);
  });
});
