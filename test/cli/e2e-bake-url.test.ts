// biome-ignore-all lint/suspicious/noTemplateCurlyInString: templates of bake files
/** `drydock bake URL`: bake files of a git repository and of a web server, in process and at a daemon. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { Cli } from '../kit/cli.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { answerGit } from '../kit/git-server.ts';
import { startServer, type TestServer } from '../kit/http-server.ts';

const cli = new Cli();
let server: TestServer;
let daemon: TestDaemon;

const bakeFile = `
group "default" { targets = ["all", "part", "mine"] }
target "all" { output = ["all"] }
target "part" {
  context    = "sub"
  contexts   = { deep = "sub/deep", whole = "." }
  dockerfile = "Dockerfile.part"
  output     = ["part"]
}
target "mine" {
  context           = BAKE_CMD_CONTEXT
  dockerfile-inline = "FROM scratch\\nCOPY here /\\n"
  output            = ["mine"]
}
`;

beforeAll(async () => {
  const dir = cli.files('repo', {
    'docker-bake.hcl': bakeFile,
    Dockerfile: 'FROM scratch\nCOPY f /\n',
    f: 'of the repository',
    'sub/Dockerfile.part': 'FROM scratch\nCOPY g /\nCOPY --from=deep h /\nCOPY --from=whole f /\n',
    'sub/g': 'G',
    'sub/deep/h': 'H',
  });
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=x', '-c', 'user.email=x@x', ...args], { cwd: dir, stdio: 'pipe' });
  git('init', '-q', '-b', 'main');
  git('add', '-A');
  git('commit', '-qm', 'all');
  git('clone', '-q', '--bare', '.', join(cli.dir, 'repo.git'));
  execFileSync('tar', ['-czf', join(cli.dir, 'all.tgz'), '--exclude=.git', '-C', dir, '.']);
  server = await startServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://x');
    if (pathname.startsWith('/repo.git/')) return answerGit(request, response, cli.dir, pathname);
    if (pathname === '/one.hcl') return response.end('target "default" { output = ["one"] }\n');
    if (pathname === '/all.tgz') return response.end(readFileSync(join(cli.dir, 'all.tgz')));
    return response.writeHead(404).end();
  });
  daemon = await startTestDaemon({ grpc: (host) => buildkitApi(host) });
});
afterAll(async () => {
  await daemon?.stop();
  await server?.stop();
  cli.close();
});

describe.each(['here', 'at a daemon'])('%s', (where) => {
  const env = (): Record<string, string> => (where === 'here' ? {} : { DRYDOCK_HOST: daemon.host });
  const folder = () =>
    cli.files(`work-${where}`, {
      here: 'of the command',
      Dockerfile: 'FROM scratch\nCOPY here /one\n',
      'more.hcl': 'target "all" {\n  labels = { by = "me" }\n}\n',
    });

  test('contexts are in the repository, but for those of the command', async () => {
    const cwd = folder();
    await cli.ok(['bake', `http://${server.host}/repo.git#main`], { env: env(), cwd });
    const read = (path: string) => readFileSync(join(cwd, path), 'utf8');
    expect(['all/f', 'part/f', 'part/g', 'part/h', 'mine/here'].map(read)).toEqual([
      'of the repository',
      'of the repository',
      'G',
      'H',
      'of the command',
    ]);
  });

  test('--print names them; files of both sides are merged', async () => {
    const cwd = folder();
    const url = `http://${server.host}/repo.git`;
    const files = ['-f', 'docker-bake.hcl', '-f', 'cwd://more.hcl'];
    const { stdout } = await cli.ok(['bake', url, ...files, '--print'], { env: env(), cwd });
    const { target } = JSON.parse(stdout) as { target: Record<string, object> };
    expect(target).toMatchObject({
      all: { context: url, dockerfile: 'Dockerfile', labels: { by: 'me' } },
      part: { context: `${url}#:sub`, contexts: { deep: 'sub/deep', whole: '.' } },
      mine: { context: '.' },
    });
    const both = await cli.ok(['bake', url, url, 'mine', '--print'], { env: env(), cwd });
    expect(JSON.parse(both.stdout).target.mine.context).toBe(url);
  });

  test('a file of a web server has the folders of this machine, an archive its own', async () => {
    const cwd = folder();
    await cli.ok(['bake', `http://${server.host}/one.hcl`], { env: env(), cwd });
    expect(readFileSync(join(cwd, 'one/one'), 'utf8')).toBe('of the command');
    await cli.ok(['bake', `http://${server.host}/all.tgz`, 'all'], { env: env(), cwd });
    expect(readFileSync(join(cwd, 'all/f'), 'utf8')).toBe('of the repository');
  });

  test('what is not there, or cannot be, is told', async () => {
    const cwd = folder();
    const told = async (...args: string[]) => (await cli.run(['bake', ...args], { env: env(), cwd })).stderr;
    const url = `http://${server.host}/repo.git`;
    expect(await told(url, '-f', 'none.hcl')).toMatch(
      /ERROR: the bake files of http.*"\/none.hcl": not found/,
    );
    expect(await told(`http://${server.host}/none.hcl`)).toContain('ERROR: the bake files of http');
    expect(await told(`http://${server.host}/all.tgz`, 'part')).toContain('the context sub in the archive');
    expect(await told(`${url}#main:sub`)).toContain("couldn't find a bake definition");
    expect(await told(url, '--watch')).toContain('--watch does not go with a bake file that is fetched');
  });
});

test('a Dockerfile of this machine needs its right, also beside a context elsewhere', async () => {
  const cwd = cli.files('rights/inner', {
    'b.hcl': `target "default" {\n  context = "http://${server.host}/repo.git"\n  dockerfile = "cwd://../D"\n}\n`,
  });
  cli.files('rights', { D: 'FROM scratch\nCOPY f /\n' });
  const { stderr } = await cli.run(['bake', '-f', 'b.hcl'], { cwd });
  expect(stderr).toContain('asks for more than is granted: fs.read=../D');
});
