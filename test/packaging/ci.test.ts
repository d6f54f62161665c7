/** packaging/ci: the action of GitHub, the template of GitLab and the pipeline of Jenkins, run as those run them. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { unmountBelow } from '../../src/store/shared/run-folder.ts';
import { actionFaults } from '../kit/action-schema.ts';
import { OrdinaryUser } from '../kit/ordinary-user.ts';

const clone = join(import.meta.dirname, '../..');
const ci = join(clone, 'packaging/ci');
const dir = mkdtempSync(join(tmpdir(), 'drydock-ci-'));
const project = join(dir, 'project');
/** The package, of the bundle that is there. */
let tarball = '';

const version = (JSON.parse(readFileSync(join(clone, 'package.json'), 'utf8')) as { version: string })
  .version;
/** Debian's docker comes first: a machine may have others. */
const path = `/usr/bin:${process.env.PATH}`;
const text = (name: string) => readFileSync(join(ci, name), 'utf8');

beforeAll(() => {
  execFileSync(join(clone, 'drydock'), ['version'], { stdio: 'ignore' });
  // In the form of `npm pack`, which takes a minute to pack what a clone has in dist/ of older bundles.
  const bundle = /"\.\/(bundle-[0-9a-f]+)\/"/.exec(
    readFileSync(join(clone, 'dist/drydock.cjs'), 'utf8'),
  )?.[1];
  const parts = ['package.json', 'bin', 'packaging', 'dist/drydock.cjs', `dist/${bundle}`];
  tarball = join(dir, 'drydock.tgz');
  execFileSync('tar', [
    '-cf',
    tarball,
    '-I',
    'gzip -1',
    '--transform',
    's,^,package/,',
    '-C',
    clone,
    ...parts,
  ]);
  mkdirSync(join(project, 'docker/cli-plugins'), { recursive: true });
  copyFileSync('/bin/busybox', join(project, 'busybox'));
  copyFileSync(
    '/usr/local/lib/drydock-test/docker-buildx',
    join(project, 'docker/cli-plugins/docker-buildx'),
  );
  writeFileSync(join(project, '.dockerignore'), '*\n!busybox\n');
  writeFileSync(
    join(project, 'Dockerfile'),
    'FROM scratch\nCOPY busybox /bin/sh\nRUN echo built > /by\nCMD ["/bin/sh"]\n',
  );
});

afterAll(() => {
  unmountBelow(dir);
  rmSync(dir, { recursive: true, force: true });
});

interface Action {
  inputs: Record<string, { default: string }>;
  outputs: Record<string, object>;
  runs: { main: string; post: string };
}

/** Runs the action's programs as GitHub's runner does: inputs and files by variables, what they set for later steps. */
class Runner {
  readonly action = parse(text('action.yml')) as Action;
  readonly temp = mkdtempSync(join(dir, 'runner-'));
  /** What later steps of the job have. */
  readonly env: Record<string, string> = {
    ...(process.env as Record<string, string>),
    PATH: path,
    DOCKER_CONFIG: join(project, 'docker'),
    RUNNER_TEMP: this.temp,
    ACTIONS_RUNTIME_TOKEN: 'token',
  };
  readonly outputs: Record<string, string> = {};
  readonly #inputs: Record<string, string>;
  readonly #state: Record<string, string> = {};

  constructor(inputs: Record<string, string>) {
    const defaults = Object.entries(this.action.inputs).map(([name, { default: value }]) => [name, value]);
    this.#inputs = { ...Object.fromEntries(defaults), ...inputs };
  }

  run(program: 'main' | 'post') {
    const file = (name: string) => join(this.temp, `${program}-${name}`);
    for (const name of ['ENV', 'OUTPUT', 'STATE', 'PATH']) writeFileSync(file(name), '');
    const prefixed = (prefix: string, values: Record<string, string>) =>
      Object.fromEntries(Object.entries(values).map(([name, value]) => [`${prefix}${name}`, value]));
    const inputs = Object.entries(this.#inputs).map(([name, value]) => [name.toUpperCase(), value]);
    const ended = spawnSync(process.execPath, [join(ci, this.action.runs[program])], {
      cwd: project,
      encoding: 'utf8',
      env: {
        ...this.env,
        ...prefixed('INPUT_', Object.fromEntries(inputs)),
        ...prefixed('STATE_', this.#state),
        ...Object.fromEntries(
          ['ENV', 'OUTPUT', 'STATE', 'PATH'].map((name) => [`GITHUB_${name}`, file(name)]),
        ),
      },
    });
    for (const [name, to] of [
      ['ENV', this.env],
      ['OUTPUT', this.outputs],
      ['STATE', this.#state],
    ] as const) {
      const told = readFileSync(file(name), 'utf8').matchAll(/^(.+?)<<(.+)\n([\s\S]*?)\n\2$/gm);
      for (const [, key = '', , value = ''] of told) to[key] = value;
    }
    for (const folder of readFileSync(file('PATH'), 'utf8').split('\n').filter(Boolean))
      this.env.PATH = `${folder}:${this.env.PATH}`;
    return { code: ended.status, stdout: ended.stdout, stderr: ended.stderr };
  }

  /** A later step's line. */
  sh(line: string): string {
    return execFileSync('sh', ['-ec', line], { cwd: project, encoding: 'utf8', env: this.env });
  }
}

describe('continuous integration', () => {
  let installed = '';

  test('GitHub: action.yml fits the schema of actions, and its release is the one of the package', async () => {
    expect(await actionFaults(text('action.yml'))).toEqual([]);
    // The reader does find what is wrong.
    expect(await actionFaults(text('action.yml').replace('main:', 'mian:'))).not.toEqual([]);
    expect((parse(text('action.yml')) as Action).inputs.version?.default).toBe(version);
    for (const name of ['gitlab.yml', 'Jenkinsfile', 'vars/withDrydock.groovy'])
      expect(text(name)).toContain(`drydock@${version}`);
  });

  test('GitHub: the action installs, serves docker, buildx and drydock, and its end leaves nothing', () => {
    const cache = join(dir, 'github-cache');
    const runner = new Runner({
      package: tarball,
      engine: '',
      'shared-cache': `dir:${cache}`,
      'gha-cache': 'true',
      builder: 'drydock',
    });
    expect(runner.run('main')).toMatchObject({ code: 0, stderr: '' });
    installed = join(runner.temp, 'drydock/bin');
    const { host } = runner.outputs;
    expect(runner.outputs).toEqual({ host, builder: 'drydock', version: expect.stringContaining(version) });
    expect(runner.env).toMatchObject({
      DOCKER_HOST: host,
      BUILDKIT_HOST: host,
      DRYDOCK_HOST: host,
      BUILDX_BUILDER: 'drydock',
      ACTIONS_RUNTIME_TOKEN: 'token',
    });
    // Three clients, one daemon: what the first has built is cached for the others.
    runner.sh('DOCKER_BUILDKIT=1 docker build -q -t app .');
    expect(runner.sh('docker buildx build --progress plain --load -t app2 . 2>&1')).toMatch(/CACHED/);
    expect(runner.sh('drydock images --format "{{.Repository}}"').trim().split('\n').sort()).toEqual([
      'app',
      'app2',
    ]);
    expect(runner.run('post')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(spawnSync('docker', ['version'], { env: runner.env }).status).not.toBe(0);
    expect(runner.sh('docker buildx ls')).not.toContain('drydock');
    // The folder that actions/cache would keep: the next job finds its steps there.
    expect(readdirSync(cache)).not.toEqual([]);
  });

  test('GitHub: a failure is an error of the job, in the words of the daemon', () => {
    // The one file of a release; here the clone's own command stands for it.
    writeFileSync(join(dir, 'one-file'), `#!/bin/sh\nexec ${join(clone, 'drydock')} "$@"\n`);
    const broken = new Runner({
      package: join(dir, 'one-file'),
      engine: '',
      builder: '',
      config: '{"hots": []}',
    });
    expect(broken.run('main')).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^::error::.*there is no setting "hots" \(did you mean "host"\?\)/),
    });
    expect(broken.run('post')).toMatchObject({ code: 0 });
    expect(broken.outputs).toEqual({});
  });

  interface Job {
    variables: Record<string, string>;
    before_script: string[];
    script: string[];
    after_script: string[];
  }
  const pipeline = `include: [{ local: gitlab.yml }]
app:
  extends: .drydock
  script:
    - DOCKER_BUILDKIT=1 docker build -q -t app .
    - drydock images --format '{{.Repository}}'
rootless:
  extends: .drydock-rootless
  script:
    - drydock build -q -t app .
    - drydock inspect app --format '{{.Config.Cmd}}'
`;
  /** The jobs as a reader of GitLab's files puts them together. It holds them against GitLab's schema, and throws. */
  const jobs = () => {
    const at = join(dir, 'gitlab-project');
    mkdirSync(at);
    copyFileSync(join(ci, 'gitlab.yml'), join(at, 'gitlab.yml'));
    writeFileSync(join(at, '.gitlab-ci.yml'), pipeline);
    const git = (...args: string[]) => execFileSync('git', ['-C', at, ...args], { stdio: 'pipe' });
    git('init', '-q');
    git('remote', 'add', 'origin', 'https://gitlab.example/team/app.git');
    git('add', '.');
    git('-c', 'user.name=a', '-c', 'user.email=a@example.org', 'commit', '-qm', 'All');
    const reader = join(clone, 'node_modules/gitlab-ci-local/dist/index.js');
    const shown = execFileSync(process.execPath, [reader, '--preview'], { cwd: at, stdio: 'pipe' });
    return parse(shown.toString()) as { app: Job; rootless: Job };
  };
  let read: ReturnType<typeof jobs> | undefined;

  /** A job's variables, as the runner gives them to the job's two shells. */
  const variablesOf = ({ variables }: Job, given: Record<string, string>) => {
    const all: Record<string, string> = { ...given };
    for (const [name, value] of Object.entries(variables))
      all[name] = given[name] ?? String(value).replaceAll(/\$(\w+)/g, (_, word: string) => all[word] ?? '');
    return all;
  };
  const scriptOf = (lines: readonly string[]) => `set -eo pipefail\n${lines.join('\n')}`;
  const mainOf = ({ before_script, script }: Job) => scriptOf([...before_script, ...script]);

  test('GitLab: the template fits the schema of pipelines, and a job builds by docker', () => {
    read = jobs();
    const at = join(dir, 'gitlab');
    const own = { CI_BUILDS_DIR: at, CI_PROJECT_DIR: project, CI_CONCURRENT_ID: '0' };
    const env = { ...process.env, ...variablesOf(read.app, own), PATH: `${installed}:${path}`, HOME: at };
    mkdirSync(at);
    const run = (script: string) =>
      execFileSync('bash', ['-c', script], { cwd: project, env, encoding: 'utf8', stdio: 'pipe' });
    expect(run(mainOf(read.app))).toMatch(/^app$/m);
    run(scriptOf(read.app.after_script));
    // The cache is where GitLab keeps it, and no daemon is left.
    expect(readdirSync(join(project, '.drydock-cache'))).not.toEqual([]);
    expect(existsSync(join(at, '.drydock/0.sock'))).toBe(false);
    rmSync(join(project, '.drydock-cache'), { recursive: true });
  });

  test('GitLab: the rootless job builds as an ordinary user', async () => {
    const { rootless } = read as ReturnType<typeof jobs>;
    const user = new OrdinaryUser();
    try {
      const at = user.files('builds', {
        'project/Dockerfile': readFileSync(join(project, 'Dockerfile')),
        'project/busybox': readFileSync('/bin/busybox'),
      });
      chmodSync(join(at, 'project/busybox'), 0o755);
      const bin = user.files('bin', { drydock: `#!/bin/sh\nexec ${user.command} "$@"\n` });
      chmodSync(join(bin, 'drydock'), 0o755);
      const own = { CI_BUILDS_DIR: at, CI_PROJECT_DIR: join(at, 'project'), CI_CONCURRENT_ID: '0' };
      const env = { ...variablesOf(rootless, own), PATH: `${bin}:/usr/local/bin:/usr/bin:/bin` };
      const run = (script: string) => user.run(['bash', '-c', script], { cwd: join(at, 'project'), env });
      const ended = await run(mainOf(rootless));
      expect(ended, ended.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('[/bin/sh]') });
      expect(await run(scriptOf(rootless.after_script))).toMatchObject({ code: 0 });
      expect(existsSync(join(at, '.drydock/0.sock'))).toBe(false);
    } finally {
      user.close();
    }
  });

  /** The scripts of `sh` steps, in order, and the variables of the pipeline. */
  const shells = (groovy: string) =>
    [...groovy.matchAll(/\bsh (?:'''([\s\S]*?)'''|'([^'\n]*)')/g)].map(
      ([, block, line]) => block ?? line ?? '',
    );

  test('Jenkins: the pipeline starts a daemon, builds by docker and stops it', () => {
    const pipeline = text('Jenkinsfile');
    const at = join(dir, 'jenkins');
    mkdirSync(at);
    const env: Record<string, string> = {
      ...(process.env as Record<string, string>),
      PATH: `${installed}:${path}`,
      HOME: at,
      WORKSPACE_TMP: at,
      EXECUTOR_NUMBER: '0',
      BUILD_NUMBER: String(process.pid),
    };
    for (const [, name = '', value = ''] of pipeline.matchAll(/^ {4}(\w+) = ["'](.*)["']$/gm))
      env[name] = value.replaceAll(/\$\{(\w+)\}/g, (_, word: string) => env[word] ?? '');
    const run = (script: string) =>
      execFileSync('sh', ['-xe', '-c', script], { cwd: project, env, encoding: 'utf8', stdio: 'pipe' });
    const [start = '', build = '', stop = ''] = shells(pipeline);
    run(start);
    try {
      run(build);
      expect(run('docker images --format "{{.Repository}}"').trim()).toBe('app');
    } finally {
      run(stop);
    }
    expect(existsSync(`/tmp/drydock-0-${process.pid}.sock`)).toBe(false);
    // The shared step says the same.
    const step = shells(text('vars/withDrydock.groovy').replaceAll(/^\/\/.*$/gm, ''));
    const words = (script: string) => script.trim().split(/\s+/);
    expect(step.map(words)).toEqual([words(start), words(stop)]);
  });
});
