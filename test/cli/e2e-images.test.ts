/** The commands around images, through the real command and real registries. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cache } from '../../src/cache/index.ts';
import { digestOf } from '../../src/oci/index.ts';
import { Cli } from '../kit/cli.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';

let cli: Cli;

beforeAll(async () => {
  cli = new Cli();
  await cli.makeBase();
});
afterAll(() => cli?.close());

describe('images', () => {
  test('images, tag, inspect, rmi', async () => {
    await cli.ok(['tag', 'base', 'other:v1']);
    const { stdout } = await cli.ok(['images']);
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => line.split(/\s{2,}/));
    expect(lines[0]).toEqual(['REPOSITORY', 'TAG', 'IMAGE ID', 'CREATED', 'SIZE']);
    const id = lines[1]?.[2];
    const shown = await cli.ok([
      'images',
      '--format',
      'table {{.ID}}\\t{{.CreatedSince}}\\t{{.Digest}}',
      'base',
    ]);
    const [heads, row] = shown.stdout.trim().split('\n');
    expect(heads?.split(/\s{2,}/)).toEqual(['IMAGE ID', 'CREATED', 'DIGEST']);
    const digest = (await cli.ok(['images', '--digests', 'base'])).stdout.split('\n')[1]?.split(/\s{2,}/)[2];
    expect(digest).toMatch(/^sha256:\w{64}$/);
    expect(row).toContain(digest);
    const steps = await cli.ok(['history', '--format', 'table {{.ID}}\\t{{.CreatedSince}}', 'base']);
    expect(steps.stdout).toMatch(/^IMAGE +CREATED\n/);
    expect(lines.slice(1).map(([name, tag, image]) => [name, tag, image])).toEqual([
      ['base', 'latest', id],
      ['other', 'v1', id],
    ]);
    const [base, other] = JSON.parse((await cli.ok(['inspect', 'base', 'other:v1'])).stdout);
    expect(base.Id).toBe(other.Id);
    expect(base).toMatchObject({ Os: 'linux', RepoTags: ['base:latest', 'other:v1'] });
    expect((await cli.ok(['rmi', 'other:v1'])).stdout).toBe('Untagged: other:v1\n');
    const { code, stderr } = await cli.run(['rmi', 'other:v1']);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/no such image.*other:v1/i)]);
    expect((await cli.run(['rmi', '-f', 'other:v1'])).code).toBe(0);
    expect((await cli.run(['inspect', 'none'])).code).toBe(1);
  });

  test('save and load: to a file and through pipes', async () => {
    const file = join(cli.dir, 'base.tar');
    await cli.ok(['tag', 'base', 'saved:1']);
    await cli.ok(['save', '-o', file, 'saved:1']);
    const before = await cli.inspect<{ Id: string }>('saved:1');
    const env = { DRYDOCK_ROOT: join(cli.dir, 'second') };
    expect((await cli.ok(['load', '-i', file], { env })).stdout).toBe('Loaded image: saved:1\n');
    expect(JSON.parse((await cli.ok(['inspect', 'saved:1'], { env })).stdout)[0].Id).toBe(before.Id);
    await cli.ok(['rmi', 'saved:1'], { env });
    const piped = await cli.ok(['load'], { env, input: readFileSync(file) });
    expect(piped.stdout).toBe('Loaded image: saved:1\n');
    const broken = await cli.run(['load'], { env, input: readFileSync(file).subarray(0, 5000) });
    expect(broken.code).toBe(1);
    expect(broken.stderr).toMatch(/^ERROR: /);
    expect((await cli.ok(['doctor', '--verify'], { env })).stdout).toContain('all is well');
    // What is half written never has the name.
    const none = await cli.run(['save', '-o', join(cli.dir, 'none.tar'), 'no-such-image']);
    expect(none.code).toBe(1);
    expect(() => readFileSync(join(cli.dir, 'none.tar'))).toThrow('ENOENT');
  });

  test('an image that loses its name is kept as <none>, for `prune --images` to take', async () => {
    const build = async (text: string) => {
      const dir = cli.files('renamed', { Dockerfile: 'FROM scratch\nCOPY f /f\n', f: text });
      return (await cli.ok(['build', '-q', '-t', 'renamed', dir])).stdout.trim();
    };
    const [old, fresh] = [await build('one'), await build('two')];
    const short = (id: string) => id.slice(7, 19);
    const images = async () => (await cli.ok(['images'])).stdout;
    expect(await images()).toMatch(new RegExp(`^<none> +<none> +${short(old)}`, 'm'));
    await cli.ok(['prune']);
    expect(await images()).toContain(short(old));
    expect((await cli.ok(['prune', '--images'])).stdout).toContain(`${old}\n`);
    expect(await images()).not.toContain(short(old));
    await cli.ok(['rmi', 'renamed']);
    expect(await images()).not.toContain(short(fresh));
  });

  test('images, inspect and image prune take docker’s filters and templates', async () => {
    const build = async (name: string, label: string) => {
      const dir = cli.files(name, { Dockerfile: `FROM scratch\nLABEL kind=${label}\nCOPY f /\n`, f: name });
      await cli.ok(['build', '-q', '-t', `${name}:1`, '-t', `${name}:2`, dir]);
    };
    await build('pear', 'fruit');
    await build('leek', 'vegetable');
    const names = async (...args: string[]) =>
      (await cli.ok(['images', '--format', '{{.Repository}}:{{.Tag}}', ...args])).stdout
        .trim()
        .split('\n')
        .sort();
    expect(await names('-f', 'reference=p*:1')).toEqual(['pear:1']);
    expect(await names('--filter', 'label=kind=vegetable')).toEqual(['leek:1', 'leek:2']);
    expect(await names('-f', 'label=kind', '-f', 'label!=kind=fruit')).toEqual(['leek:1', 'leek:2']);
    expect((await cli.run(['images', '-f', 'lable=x'])).stderr).toContain('Did you mean label?');
    const format = (text: string) => cli.run(['image', 'inspect', 'leek:1', 'pear:2', '-f', text]);
    expect(
      (await format('{{join .RepoTags ","}} {{.Config.Labels.kind}} {{.Config.User}}{{.Variant}}')).stdout,
    ).toBe('leek:1,leek:2 vegetable \npear:1,pear:2 fruit \n');
    expect((await format('{{index .Config.Labels "none"}}|{{json .RootFS.Type}}')).stdout).toMatch(
      /\|"layers"\n/,
    );
    expect((await format('{{.Nmae}}')).stderr).toContain('there is no field Nmae');
    const pruned = await cli.ok(['image', 'prune', '-af', '--filter', 'label=kind=fruit']);
    expect(pruned.stdout).toMatch(/^Deleted Images:\nuntagged: pear:1\nuntagged: pear:2\ndeleted: sha256:/);
    expect(await names('-f', 'label=kind')).toEqual(['leek:1', 'leek:2']);
    await cli.ok(['image', 'rm', 'leek:1', 'leek:2']);
  });

  test('one platform of several is saved, loaded and removed alone', async () => {
    const dir = cli.files('both', { Dockerfile: 'FROM scratch\nCOPY f /f\n', f: 'both' });
    const both = 'linux/amd64,linux/arm64';
    await cli.ok(['build', '-q', '--platform', both, '-t', 'both', dir]);
    // The host's platform where it is there.
    const shown = async () => JSON.parse((await cli.ok(['inspect', 'both'])).stdout)[0].Architecture;
    expect(await shown()).toBe('amd64');
    const [one, all] = [join(cli.dir, 'one.tar'), join(cli.dir, 'all.tar')];
    await cli.ok(['save', '--platform', 'linux/arm64', '-o', one, 'both']);
    await cli.ok(['save', '-o', all, 'both']);
    const careful = await cli.run(['rmi', '--platform', 'linux/arm64', 'both']);
    expect([careful.code, careful.stderr]).toEqual([1, expect.stringContaining('--force')]);
    await cli.ok(['rmi', '-f', '--platform', 'linux/arm64', 'both']);
    expect(await shown()).toBe('amd64');
    expect((await cli.run(['save', '--platform', 'linux/arm64', '-o', one, 'both'])).code).toBe(1);
    await cli.ok(['rmi', 'both']);
    await cli.ok(['load', '-i', one]);
    expect(await shown()).toBe('arm64');
    await cli.ok(['rmi', 'both']);
    await cli.ok(['load', '--platform', 'linux/arm64', '-i', all]);
    expect(await shown()).toBe('arm64');
    const none = await cli.run(['load', '--platform', 'linux/s390x', '-i', all]);
    expect([none.code, none.stderr]).toEqual([1, expect.stringContaining("doesn't provide the requested")]);
    await cli.ok(['rmi', 'both']);
  });

  test('du and prune', async () => {
    const dir = cli.files('pruned', {
      Dockerfile: 'FROM base\nRUN --mount=type=cache,target=/c echo > /c/f\n',
    });
    await cli.ok(['build', '-q', '-o', 'type=cacheonly', dir]);
    const du = (await cli.ok(['du'])).stdout;
    expect(du).toMatch(/^ID +RECLAIMABLE +SIZE +LAST USED +DESCRIPTION\n/);
    expect(du).toContain('RUN --mount=type=cache,target=/c echo > /c/f');
    expect(du).toContain('cache mount');
    const some = await cli.ok(['prune', '--filter', 'type=exec.cachemount']);
    expect(some.stdout).toMatch(/cache mount[\s\S]*Total reclaimed space: /);
    await cli.ok(['prune', '--all']);
    expect((await cli.ok(['du'])).stdout).toMatch(/^ID.*\nShared:\s+0B\nReclaimable:\s+0B\nTotal:\s+0B\n$/);
    // The image is not cache.
    expect((await cli.ok(['images', '-q', 'base'])).stdout).toMatch(/^\w{12}\n$/);
    const { code, stderr } = await cli.run(['prune', '--filter', 'colour=red']);
    expect([code, stderr]).toEqual([1, expect.stringContaining('Filters are: until,')]);
  });
});

test('a long list reaches a slow reader whole', async () => {
  const drydock = join(import.meta.dirname, '../../bin/drydock');
  const root = join(cli.dir, 'many');
  await cli.ok(['--root', root, 'du']);
  const cache = new Cache(root);
  for (let i = 0; i < 3000; i++) {
    const record = { id: digestOf(String(i)), description: `RUN ${i}`, type: 'regular' as const, size: 1 };
    cache.save({ ...record, results: [] }, []);
  }
  cache.close();
  for (const args of ['du', 'du --verbose', 'prune --all']) {
    const command = `'${drydock}' --root '${root}' ${args} | (sleep 0.5; cat)`;
    const list = execFileSync('sh', ['-c', command], { encoding: 'utf8', env: cli.environment() });
    expect(list.match(/RUN \d+/g), args).toHaveLength(3000);
  }
});

test('an archive reaches a reader whole that is slow at its end', async () => {
  const drydock = join(import.meta.dirname, '../../bin/drydock');
  const file = join(cli.dir, 'whole.tar');
  await cli.ok(['save', '-o', file, 'base']);
  const size = statSync(file).size;
  // 64 KB at a time, and at last 1 KB, with pauses.
  const reader = `
    const chunk = Buffer.alloc(65536);
    const pause = new Int32Array(new SharedArrayBuffer(4));
    let all = 0;
    for (;;) {
      const last = all > ${size - 200_000};
      if (last) Atomics.wait(pause, 0, 0, 5);
      const n = require('node:fs').readSync(0, chunk, 0, last ? 1024 : chunk.length);
      if (n === 0) break;
      all += n;
    }
    console.log(all);`;
  const command = `'${drydock}' save base | '${process.execPath}' -e '${reader.replaceAll("'", '"')}'`;
  expect(execFileSync('sh', ['-c', command], { encoding: 'utf8', env: cli.environment() })).toBe(`${size}\n`);
});

describe('registries', () => {
  const account = { username: 'ann', password: 'pa:ss word' };
  const auth = Buffer.from(`${account.username}:${account.password}`).toString('base64');
  const configured = (name: string, config: object) => {
    const dir = join(cli.dir, name);
    mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, 'config.json'), JSON.stringify(config));
    return { DOCKER_CONFIG: dir };
  };

  async function roundTrip(registry: TestRegistry, env: Record<string, string>): Promise<void> {
    const name = `${registry.host}/team/app:v1`;
    await cli.ok(['tag', 'base', name]);
    const push = await cli.ok(['push', name], { env });
    const digest = /digest: (sha256:\w{64})/.exec(push.stdout)?.[1] ?? '';
    await cli.ok(['rmi', name]);
    const other = { ...env, DRYDOCK_ROOT: join(cli.dir, 'puller') };
    const pull = await cli.ok(['pull', name], { env: other });
    expect(pull.stdout).toContain(`Digest: ${digest}\nStatus: Pulled ${name}\n`);
    expect((await cli.ok(['pull', name], { env: other })).stdout).toContain('Image is up to date');
    // By digest, as a base, and pushed by the build itself.
    const repository = name.replace(':v1', '');
    const dir = cli.files('from-registry', { Dockerfile: `FROM ${repository}@${digest}\nRUN echo > /new\n` });
    await cli.ok(['build', '-q', '--push', '-t', `${repository}:v2`, dir], { env: other });
    await cli.ok(['pull', '-q', `${repository}:v2`], { env });
    await cli.ok(['rmi', `${repository}:v2`]);
    rmSync(other.DRYDOCK_ROOT, { recursive: true, force: true });
  }

  test('open, on localhost, over plain http', async () => {
    const registry = await startRegistry();
    try {
      await roundTrip(registry, {});
      const { code, stderr } = await cli.run(['pull', `${registry.host}/none:x`]);
      expect(code).toBe(1);
      expect(stderr).toContain(`${registry.host}/none`);
      expect(stderr).toContain('404');
    } finally {
      await registry.stop();
    }
  });

  test('login tries the account and keeps it, logout forgets it', async () => {
    const registry = await startRegistry({ basic: account });
    const env = configured('login', { auths: { other: { auth: 'eDp5' } }, proxies: { default: {} } });
    const file = join(env.DOCKER_CONFIG, 'config.json');
    const read = () => JSON.parse(readFileSync(file, 'utf8'));
    const login = (password: string, ...args: string[]) =>
      cli.run(['login', '-u', account.username, ...args, registry.host], { env, input: password });
    try {
      const before = read();
      const wrong = await login('wrong', '--password-stdin');
      expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining('401')]);
      expect(read()).toEqual(before);
      const right = await login(`${account.password}\n`, '--password-stdin');
      expect([right.code, right.stdout]).toEqual([0, 'Login Succeeded\n']);
      expect(right.stderr).toContain(`unencrypted in ${file}`);
      expect(read()).toEqual({ ...before, auths: { ...before.auths, [registry.host]: { auth } } });
      await roundTrip(registry, env);
      expect((await cli.ok(['logout', registry.host], { env })).stdout).toContain(
        'Removing login credentials',
      );
      expect(read()).toEqual(before);
      expect((await cli.ok(['logout', registry.host], { env })).stdout).toContain('Not logged in');
      expect((await cli.run(['pull', `${registry.host}/team/app:v1`], { env })).stderr).toContain('401');
      const asked = await cli.run(['login', registry.host], { env, input: '' });
      expect([asked.code, asked.stderr]).toEqual([1, expect.stringContaining('stdin is no terminal')]);
      writeFileSync(file, '{');
      const broken = await login(account.password, '--password-stdin');
      expect(broken.stderr).toContain('is not valid JSON');
      expect(readFileSync(file, 'utf8')).toBe('{');
    } finally {
      await registry.stop();
    }
  });

  test('login and logout with a credential helper leave no password in the file', async () => {
    const registry = await startRegistry({ basic: account });
    const env = configured('helper-login', { credsStore: 'filed' });
    const kept = join(cli.dir, 'filed.json');
    const bin = cli.files('filed-bin', {
      'docker-credential-filed': `#!/bin/sh
case "$1" in store) cat >'${kept}' ;; erase) rm '${kept}' ;; get) cat >/dev/null; cat '${kept}' 2>/dev/null || { echo credentials not found; exit 1; } ;; esac
`,
    });
    chmodSync(join(bin, 'docker-credential-filed'), 0o755);
    const all = { ...env, PATH: `${bin}:${process.env.PATH}` };
    try {
      const args = ['login', '-u', account.username, '--password-stdin', registry.host];
      const { stderr } = await cli.ok(args, { env: all, input: account.password });
      expect(stderr).toBe('');
      expect(JSON.parse(readFileSync(kept, 'utf8'))).toEqual({
        ServerURL: registry.host,
        Username: account.username,
        Secret: account.password,
      });
      const file = readFileSync(join(env.DOCKER_CONFIG, 'config.json'), 'utf8');
      expect(JSON.parse(file)).toEqual({ credsStore: 'filed', auths: { [registry.host]: {} } });
      await roundTrip(registry, all);
      await cli.ok(['logout', registry.host], { env: all });
      expect(existsSync(kept)).toBe(false);
    } finally {
      await registry.stop();
    }
  });

  test('basic auth, from config.json', async () => {
    const registry = await startRegistry({ basic: account });
    try {
      await roundTrip(registry, configured('basic', { auths: { [registry.host]: { auth } } }));
      const { code, stderr } = await cli.run(['pull', `${registry.host}/team/app:v1`]);
      expect(code).toBe(1);
      expect(stderr).toContain('401');
      expect(stderr).toContain('docker login');
    } finally {
      await registry.stop();
    }
  });

  test('token auth, from a credential helper', async () => {
    const registry = await startRegistry({ token: account });
    try {
      const bin = cli.files('helpers', {});
      const answer = JSON.stringify({ Username: account.username, Secret: account.password });
      writeFileSync(join(bin, 'docker-credential-e2e'), `#!/bin/sh\ncat >/dev/null\necho '${answer}'\n`, {
        mode: 0o755,
      });
      const env = configured('helper', { credHelpers: { [registry.host]: 'e2e' } });
      await roundTrip(registry, { ...env, PATH: `${bin}:${process.env.PATH}` });
      const { code, stderr } = await cli.run(['push', 'base', `${registry.host}/team/app:v3`]);
      expect(code).toBe(1);
      expect(stderr).toMatch(/40[13]/);
    } finally {
      await registry.stop();
    }
  });
});

describe('the command itself', () => {
  test('doctor names what is there, and what is broken', async () => {
    const { stdout } = await cli.ok(['doctor']);
    for (const name of ['runc', 'overlayfs', 'git', 'user', 'store']) {
      expect(stdout).toMatch(new RegExp(`^ok +${name} `, 'm'));
    }
    const lacking = await cli.run(['doctor'], { env: { PATH: '/nowhere' } });
    expect(lacking.code).toBe(1);
    expect(lacking.stdout).toMatch(/^LACK +git +not installed\n +.*apt-get install git/m);
  });

  test('doctor says that steps cannot be run in a chroot', () => {
    const root = join(cli.dir, 'chroot');
    mkdirSync(root);
    const script = `for each in /*; do
      if [ -L $each ]; then cp -d $each ${root}$each
      elif [ -d $each ]; then mkdir ${root}$each && mount --rbind $each ${root}$each; fi
    done
    exec chroot ${root} "$@"`;
    const args = ['-m', '--propagation', 'private', 'sh', '-c', script, 'sh'];
    const drydock = join(import.meta.dirname, '../../bin/drydock');
    const { stdout } = spawnSync('unshare', [...args, drydock, '--root', join(cli.dir, 'other'), 'doctor'], {
      encoding: 'utf8',
      env: cli.environment(),
    });
    expect(stdout).toMatch(/^LACK +root folder +this is a chroot/m);
  });

  test('doctor --verify finds a blob that has changed', async () => {
    const env = { DRYDOCK_ROOT: join(cli.dir, 'rotten') };
    const file = join(cli.dir, 'rotten.tar');
    await cli.ok(['save', '-o', file, 'base']);
    await cli.ok(['load', '-q', '-i', file], { env });
    const id = JSON.parse((await cli.ok(['inspect', 'base'], { env })).stdout)[0].Id.slice('sha256:'.length);
    const blob = join(env.DRYDOCK_ROOT, 'blobs/sha256', id.slice(0, 2), id);
    writeFileSync(blob, readFileSync(blob, 'utf8').replace('linux', 'Linux'));
    const { code, stdout } = await cli.run(['doctor', '--verify'], { env });
    expect(code).toBe(1);
    expect(stdout).toMatch(new RegExp(`^BAD .*${id}`, 'm'));
  });

  test('help, version, mistakes', async () => {
    expect((await cli.ok(['--version'])).stdout).toMatch(/^drydock \d+\.\d+\.\d+/);
    expect((await cli.ok(['--help'])).stdout).toContain('prune');
    expect((await cli.ok(['build', '--help'])).stdout).toMatch(/--build-arg NAME\[=VALUE\]/);
    const { code, stderr } = await cli.run(['biuld', '.']);
    expect([code, stderr]).toEqual([1, expect.stringContaining('Did you mean `drydock build`?')]);
    expect((await cli.run(['constructor'])).stderr).toContain('unknown command: drydock constructor');
    expect((await cli.run(['rmi'])).code).toBe(1);
  });
});
