/** The daemons of a user who is not root: `drydock daemon` and `drydock buildkitd`. */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { OrdinaryUser } from '../kit/ordinary-user.ts';

let user: OrdinaryUser;
let other: OrdinaryUser;
let sockets: string;
let context: string;
const children: ChildProcess[] = [];

beforeAll(() => {
  user = new OrdinaryUser();
  other = new OrdinaryUser();
  // As logind makes it.
  sockets = join(user.home, 'run');
  mkdirSync(sockets, { mode: 0o700 });
  execFileSync('chown', [`${user.uid}:${user.gid}`, sockets]);
  execFileSync('chmod', ['755', user.home]);
  context = user.files('context', { Dockerfile: 'FROM scratch\nCOPY Dockerfile /f\n' });
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGTERM');
    await once(child, 'close');
  }
});
afterAll(() => {
  user?.close();
  other?.close();
});

/** Starts a daemon of the user and waits until it is ready; returns its process and what it logged. */
async function daemon(args: readonly string[], env: Record<string, string> = {}) {
  const child = user.start([user.command, ...args], { env: { XDG_RUNTIME_DIR: sockets, ...env } });
  children.push(child);
  let log = '';
  await new Promise<void>((resolve, reject) => {
    child.stderr.on('data', (chunk) => {
      log += chunk;
      if (log.includes('is ready')) resolve();
    });
    child.once('close', () => reject(new Error(log)));
  });
  return { child, log: () => log };
}

describe('drydock daemon', () => {
  test('serves its user, and no other one, on a socket that is the user’s alone', async () => {
    const path = join(sockets, 'drydock.sock');
    const { child, log } = await daemon(['daemon', '--host', `unix://${path}`]);
    expect(log()).toContain(user.root);
    const { mode, uid } = statSync(path);
    expect([mode & 0o777, uid]).toEqual([0o600, user.uid]);
    const env = { DOCKER_HOST: `unix://${path}`, DOCKER_BUILDKIT: '0' };
    const built = await user.run(['docker', 'build', '-t', 'by-docker', context], { env });
    expect(built.stdout, built.stderr).toContain('Successfully tagged by-docker:latest');
    const info = await user.run(['docker', 'info', '--format', '{{json .SecurityOptions}}'], { env });
    expect(JSON.parse(info.stdout)).toContain('name=rootless');
    // Even if the way to the socket is open, another user is told who may.
    execFileSync('chmod', ['755', sockets]);
    execFileSync('chmod', ['666', path]);
    const refused = await other.run(['docker', 'images'], { env });
    execFileSync('chmod', ['700', sockets]);
    expect(refused.code).not.toBe(0);
    child.kill('SIGTERM');
    expect((await once(child, 'close'))[0]).toBe(0);
    expect(await user.ok(['images'])).toContain('by-docker');
  });

  test('knows its user by the machine’s name and number, and its files by the user’s folders', async () => {
    const policy = { version: 1, rules: [{ match: { uid: user.uid }, scopes: ['*'] }] };
    user.files('.config/drydock', {
      'policy.json': JSON.stringify(policy),
      'daemon.json': JSON.stringify({ host: `unix://${join(sockets, 'd.sock')}`, 'log-format': 'json' }),
    });
    const { log } = await daemon(['daemon']);
    const env = { DRYDOCK_HOST: `unix://${join(sockets, 'd.sock')}` };
    expect(await user.ok(['images'], { env })).toContain('REPOSITORY');
    const lines = log()
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.find(({ hosts }) => hosts)).toMatchObject({ root: user.root });
    expect(JSON.stringify(lines)).toContain(`"uid":${user.uid}`);
    execFileSync('rm', ['-r', join(user.home, '.config')]);
  });

  test('takes systemd’s sockets over, since it stays the process that systemd has started', async () => {
    // The socket is opened by a program that becomes the daemon, as systemd's child does.
    const path = join(sockets, 'activated.sock');
    const activate = `use Socket; $^F = 9; socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; bind($s, pack_sockaddr_un(shift)) or die "$!";
listen($s, 9); use POSIX; dup2(fileno($s), 3); $ENV{LISTEN_FDS} = 1; $ENV{LISTEN_PID} = $$; exec(@ARGV) or die`;
    const child = user.start(['perl', '-e', activate, path, user.command, 'daemon', '--host', 'fd://'], {
      env: { XDG_RUNTIME_DIR: sockets },
    });
    children.push(child);
    expect(await user.ok(['images'], { env: { DRYDOCK_HOST: `unix://${path}` } })).toContain('REPOSITORY');
  });

  test('does not give its socket to a group of others', async () => {
    const child = user.start([user.command, 'daemon', '--group', 'daemon'], {
      env: { XDG_RUNTIME_DIR: sockets },
    });
    let said = '';
    child.stderr.on('data', (chunk) => {
      said += chunk;
    });
    expect((await once(child, 'close'))[0]).toBe(1);
    expect(said).toContain('is not in this user namespace');
  });
});

describe('drydock buildkitd', () => {
  test('--rootless listens where buildctl and buildx look, and reads the user’s buildkitd.toml', async () => {
    user.files('.config/buildkit', {
      'buildkitd.toml': '[worker.oci]\nrootless = true\nlabels = { a = "b" }\n',
    });
    const { log } = await daemon(['buildkitd', '--rootless']);
    const path = join(sockets, 'buildkit/buildkitd.sock');
    expect(log()).toContain(`unix://${path}`);
    expect(log()).not.toContain('no effect');
    const env = { DRYDOCK_HOST: `unix://${path}` };
    const dir = user.files('by-buildkitd', { Dockerfile: 'FROM scratch\nCOPY Dockerfile /f\n' });
    await user.ok(['build', '-t', 'by-buildkitd', '.'], { cwd: dir, env });
  });

  test('--rootless of root is refused, with the way to it', () => {
    const run = () =>
      execFileSync(
        user.command,
        ['buildkitd', '--rootless', '--addr', `unix://${join(sockets, 'no.sock')}`],
        {
          stdio: 'pipe',
        },
      );
    expect(run).toThrow(/rootless mode needs to be run by a user who is not root/);
  });
});
