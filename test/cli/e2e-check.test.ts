/** `drydock build --check`: what it tells, and what `--fix` writes. */
import { chmodSync, chownSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from 'sarif';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { Cli } from '../kit/cli.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';

describe.each(['in this process', 'at a daemon'])('%s', (place) => {
  const cli = new Cli();
  let daemon: TestDaemon;
  let env: Record<string, string> = {};
  beforeAll(async () => {
    if (place !== 'at a daemon') return;
    daemon = await startTestDaemon({ grpc: (host) => buildkitApi(host) });
    env = { DRYDOCK_HOST: daemon.host };
  });
  afterAll(async () => {
    await daemon?.stop();
    cli.close();
  });

  test('--fix mends the file and tells what is left', async () => {
    const text = 'FROM scratch as Base\r\nenv A b\r\n\r\n# kept  \r\nCOPY x \\\n\n /\r\nARG TOKEN';
    const dir = cli.files('app', { 'docker/File': text, x: '' });
    const path = join(dir, 'docker/File');
    symlinkSync('docker/File', join(dir, 'Dockerfile'));
    chmodSync(path, 0o640);
    chownSync(path, 1234, 1235);
    const args = ['build', '--check', '--fix', '--check-format=github', 'app'];
    const { code, stdout, stderr } = await cli.run(args, { env });
    const mended = 'FROM scratch AS base\r\nENV A=b\r\n\r\n# kept  \r\nCOPY x \\\n /\r\nARG TOKEN';
    expect(readFileSync(path, 'utf8')).toBe(mended);
    const { mode, uid, gid } = statSync(path);
    expect([mode & 0o777, uid, gid]).toEqual([0o640, 1234, 1235]);
    expect(stderr).toMatch(
      /Mended in app\/Dockerfile:\n - FromAsCasing: .*\n - StageNameCasing: .* \(line 1\)\n/,
    );
    expect(stdout).toMatch(
      /^::warning file=app\/Dockerfile,line=7,endLine=7,title=SecretsUsedInArgOrEnv::.*\n$/,
    );
    expect(code).toBe(1);
    const again = await cli.run(args, { env });
    expect(again.stderr).toContain('Nothing could be mended without knowing what is meant.');
    expect(readFileSync(path, 'utf8')).toBe(mended);
  });

  test('bake --check --fix mends the Dockerfiles of all targets, each once', async () => {
    const one = cli.files('all', {
      Dockerfile: 'FROM scratch as Base\nFROM scratch as app\nCOPY x /\n',
      x: '',
      'other/Dockerfile': 'FROM scratch\nenv A b\nARG TOKEN\n',
      'docker-bake.hcl': `
        group "default" { targets = ["base", "app", "other"] }
        target "base" {
          context = "all"
          target = "Base"
        }
        target "app" { context = "all" }
        target "other" {
          context = "all/other"
          dockerfile = "../other/Dockerfile"
        }
        target "inline" { dockerfile-inline = "FROM scratch as x" }`,
    });
    const bake = (...args: string[]) => cli.run(['bake', '-f', 'all/docker-bake.hcl', ...args], { env });
    const { code, stdout, stderr } = await bake('--check', '--fix', '--check-format', 'github');
    expect(readFileSync(join(one, 'Dockerfile'), 'utf8')).toBe(
      'FROM scratch AS base\nFROM scratch AS app\nCOPY x /\n',
    );
    expect(readFileSync(join(one, 'other/Dockerfile'), 'utf8')).toBe('FROM scratch\nENV A=b\nARG TOKEN\n');
    expect(stderr.match(/^Mended in .*/gm)?.sort()).toEqual([
      'Mended in all/Dockerfile:',
      'Mended in all/other/Dockerfile:',
    ]);
    expect(stderr.match(/FromAsCasing/g)).toHaveLength(2);
    expect(stdout).toMatch(/^::warning file=all\/other\/Dockerfile,line=3,.*SecretsUsedInArgOrEnv::.*\n$/);
    expect(code).toBe(1);
    const left = await bake('--check', 'base', 'app');
    expect([left.code, left.stdout]).toEqual([
      0,
      'app: Check complete, no warnings found.\nbase: Check complete, no warnings found.\n',
    ]);
    const log = JSON.parse((await bake('--check', '--check-format=sarif')).stdout) as Log;
    expect(log.runs[0]?.results?.map(({ ruleId }) => ruleId)).toEqual(['SecretsUsedInArgOrEnv']);
    const refused = await bake('--check', '--fix', 'inline', 'app');
    expect(refused.stderr).toContain('target inline: --fix writes Dockerfiles of this machine');
    expect((await bake('--fix')).stderr).toContain('--fix goes with --check');
    expect((await bake('--check-format=json')).stderr).toContain('--check-format goes with --check');
  });

  test('a Dockerfile that cannot be built is told in the form, too', async () => {
    cli.files('bad', { Dockerfile: 'FROM scratch as b\nNO x\n' });
    const { code, stdout } = await cli.run(['build', '--check', '--check-format=github', 'bad'], { env });
    expect(stdout).toContain('::error file=bad/Dockerfile,line=2,endLine=2,title=DockerfileError::');
    expect(code).toBe(1);
  });

  test('--call asks about a Dockerfile, and is answered as buildx shows it', async () => {
    const text =
      'FROM scratch AS base\n# WHO says who builds\nARG WHO=me\nFROM base AS app\nRUN --mount=type=secret,id=tok true\n';
    cli.files('asked', { Dockerfile: text, 'docker-bake.hcl': 'target "default" { context = "asked" }' });
    const call = (...args: string[]) => cli.run(['build', '--call', ...args, 'asked'], { env });
    const outline = await call('outline');
    expect([outline.code, outline.stdout]).toEqual([
      0,
      expect.stringMatching(/^TARGET: app\n[\s\S]*WHO +me +says who builds/),
    ]);
    const targets = JSON.parse((await call('targets,format=json')).stdout);
    expect(targets.targets).toMatchObject([{ name: 'base' }, { name: 'app', default: true }]);
    expect((await call('method=check,format=json,ignorestatus=true')).stdout).toContain('"warnings": []');
    const baked = await cli.run(['bake', '-f', 'asked/docker-bake.hcl', '--call=outline'], { env });
    expect(baked.stdout).toBe(outline.stdout);
    expect((await call('outlin')).stderr).toContain('Did you mean outline?');
  });

  test('what cannot be is refused', async () => {
    cli.files('none', { Dockerfile: 'FROM scratch\n' });
    const refused = async (...args: string[]) => (await cli.run(['build', ...args], { env })).stderr;
    expect(await refused('--fix', 'none')).toContain('--fix goes with --check');
    expect(await refused('--check-format=json', 'none')).toContain('--check-format goes with --check');
    expect(await refused('--check', '--fix', '-')).toContain('not one of stdin or a URL');
    expect(await refused('--check', '--fix', '-f', '-', 'none')).toContain('not one of stdin or a URL');
    expect(await refused('--check', '--fix', 'https://example.org/a.git')).toContain(
      'not one of stdin or a URL',
    );
  });
});
