/** `drydock bake` as a user types it, in process and at a daemon, on both stores. */
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { busyboxRoot } from '../kit/busybox.ts';
import { Cli } from '../kit/cli.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { startRegistry } from '../kit/registry.ts';
import { onLocal } from '../kit/stores.ts';

const file = `
variable "WHO" { default = "me" }
group "default" { targets = ["app", "files"] }
target "base" {
  dockerfile-inline = "FROM scratch\\nCOPY hello /from-base\\nENV BASE=yes\\nWORKDIR /work\\n"
  context = "basedir"
}
target "app" {
  contexts = { base = "target:base" }
  dockerfile-inline = "FROM base\\nARG WHO\\nLABEL who=$WHO base=$BASE\\nCOPY . .\\n"
  context = "appdir"
  args = { WHO = WHO }
  tags = ["baked:\${WHO}"]
}
target "files" {
  contexts = { base = "target:base" }
  dockerfile-inline = "FROM scratch\\nCOPY --from=base /from-base /\\n"
  output = ["out"]
}
`;
const folder = { 'docker-bake.hcl': file, 'basedir/hello': 'hello', 'appdir/a': 'A' };

onLocal('drydock bake', (store) => {
  const cli = new Cli();
  let daemon: TestDaemon;
  beforeAll(async () => {
    daemon = await startTestDaemon({ ...store.options(), grpc: (host) => buildkitApi(host) });
  });
  afterAll(async () => {
    await daemon?.stop();
    cli.close();
  });

  test('builds all targets of a group at once, one from another, at a daemon', async () => {
    const dir = cli.files('remote', folder);
    const env = { DRYDOCK_HOST: daemon.host, WHO: 'env' };
    const { stderr } = await cli.ok(['bake', '--metadata-file', 'meta.json'], { env, cwd: dir });
    expect(stderr).toMatch(/^Built baked:env$/m);
    expect(stderr).toMatch(/^#\d+ \[app .*COPY \. \.$/m);
    expect(readFileSync(join(dir, 'out/from-base'), 'utf8')).toBe('hello');
    const meta = JSON.parse(readFileSync(join(dir, 'meta.json'), 'utf8')) as Record<
      string,
      Record<string, string>
    >;
    expect(Object.keys(meta)).toEqual(['app', 'files']);
    const { stdout } = await cli.ok(['inspect', 'baked:env'], { env });
    const [image] = JSON.parse(stdout) as [{ Config: { Labels: object; Env: string[]; WorkingDir: string } }];
    expect(image.Config.Labels).toEqual({ who: 'env', base: 'yes' });
    expect(image.Config.WorkingDir).toBe('/work');
  });

  test('a failing target ends the others at the daemon, whose steps are told as canceled', async () => {
    const env = { DRYDOCK_HOST: daemon.host };
    const base = cli.files('base', { Dockerfile: 'FROM scratch\nCOPY root /\nENV PATH=/bin\n' });
    busyboxRoot(join(base, 'root'));
    await cli.ok(['build', '-q', '-t', 'base', base], { env });
    const dir = cli.files('canceled', {
      'docker-bake.hcl': `group "default" { targets = ["bad", "slow"] }
target "bad" { dockerfile-inline = "FROM base\\nRUN sleep 2; exit 7\\n" }
target "slow" { dockerfile-inline = "FROM base\\nRUN echo begun; sleep 600\\n" }
`,
    });
    const { code, stderr } = await cli.run(['bake', '--progress=plain'], { env, cwd: dir });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^#\d+ ERROR: process .* exit code: 7$/m);
    expect(stderr).toMatch(/^#\d+ CANCELED$/m);
    expect(stderr).not.toContain('INTERNAL_ERROR');
  });

  test('signs the images that are pushed, and has all targets obey a source policy', async () => {
    const registry = await startRegistry();
    const name = `${registry.host}/baked:1`;
    const pushed = { ...folder, 'docker-bake.hcl': file.replace(/baked:[^"]*/, name) };
    const dir = cli.files('signed', {
      ...pushed,
      'deny.json': '{"rules":[{"action":"DENY","selector":{"identifier":"local://context"}}]}',
    });
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    writeFileSync(join(dir, 'key'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    writeFileSync(join(dir, 'pub'), publicKey.export({ type: 'spki', format: 'pem' }));
    const sign = ['--sign', 'key=key,tlog-upload=false'];
    try {
      const options = { env: { ...store.env(), DRYDOCK_HOST: daemon.host }, cwd: dir };
      await cli.ok(['bake', '--push', ...sign], options);
      await cli.ok(['verify', '--key', 'pub', '--insecure-ignore-tlog', name], options);
      const unpushed = await cli.run(['bake', ...sign], options);
      expect([unpushed.code, unpushed.stderr]).toEqual([
        1,
        expect.stringContaining('no target pushes an image'),
      ]);
      const denied = await cli.run(['bake', '--source-policy', 'deny.json'], options);
      expect([denied.code, denied.stderr]).toEqual([1, expect.stringContaining('denied by policy')]);
    } finally {
      await registry.stop();
    }
  });
});

const cli = new Cli();
afterAll(() => cli.close());

test('builds in process, with the same results', async () => {
  const dir = cli.files('local', folder);
  const { stderr } = await cli.ok(['bake', '--var', 'WHO=var'], { cwd: dir });
  expect(stderr).toMatch(/^Built baked:var$/m);
  expect(readFileSync(join(dir, 'out/from-base'), 'utf8')).toBe('hello');
  const image = await cli.inspect<{ Config: { Labels: object } }>('baked:var');
  expect(image.Config.Labels).toEqual({ who: 'var', base: 'yes' });
});

test('a failing target ends the others, and is named with its line', async () => {
  const dir = cli.files('failing', {
    'docker-bake.hcl':
      'group "default" { targets = ["good", "bad"] }\ntarget "good" { dockerfile-inline = "FROM scratch\\nCOPY a /" }\ntarget "bad" { dockerfile-inline = "FROM scratch\\nCOPY none /" }\n',
    a: 'a',
  });
  const { code, stderr } = await cli.run(['bake', '--progress=plain'], { cwd: dir });
  expect(code).toBe(1);
  expect(stderr).toMatch(/ERROR: target bad: failed to solve: .*none/);
  expect(stderr).toContain('Dockerfile:2');
});

test('--print and --list show what there is', async () => {
  const dir = cli.files('print', folder);
  const { stdout } = await cli.ok(['bake', '--print', 'files'], { cwd: dir });
  expect(JSON.parse(stdout)).toMatchObject({
    group: { default: { targets: ['files'] } },
    target: { files: { context: '.' } },
  });
  const list = await cli.ok(['bake', '--list=targets'], { cwd: dir });
  expect(list.stdout).toMatch(/^TARGET +DESCRIPTION\napp\nbase\ndefault +app, files\nfiles/);
  const variables = await cli.ok(['bake', '--list=type=variables,format=json'], { cwd: dir });
  expect(JSON.parse(variables.stdout)).toEqual([{ name: 'WHO', value: 'me' }]);
});

test('a file is granted nothing outside of the folder, and no rights, unless --allow says so', async () => {
  const dir = cli.files('rights', {
    'docker-bake.hcl':
      'target "default" {\n context = ".."\n network = "host"\n dockerfile-inline = "FROM scratch\\nCOPY rights/docker-bake.hcl /"\n output = ["type=local,dest=../outside"]\n}\n',
  });
  const refused = await cli.run(['bake'], { cwd: dir });
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain(
    'the bake file asks for more than is granted: fs.read=.., fs.write=../outside, network.host',
  );
  expect(refused.stderr).toContain('--allow fs.read=.. --allow fs.write=../outside --allow network.host');
  expect(existsSync(join(dir, '../outside'))).toBe(false);
  await cli.ok(['bake', '--allow', 'fs=..', '--allow', 'network.host'], { cwd: dir });
  expect(existsSync(join(dir, '../outside/docker-bake.hcl'))).toBe(true);
});

test('mistakes in a file are shown with their line', async () => {
  const dir = cli.files('mistake', { 'docker-bake.hcl': 'target "default" {\n  tags = [TGA]\n}\n' });
  const { code, stderr } = await cli.run(['bake', '--print'], { cwd: dir });
  expect(code).toBe(1);
  expect(stderr).toContain('docker-bake.hcl:2,11-14: Unknown variable; There is no variable named "TGA".');
  expect(stderr).toMatch(/2 \| >>> +tags = \[TGA\]/);
});
