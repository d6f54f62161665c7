/** The daemon under systemd: its units, the socket it is given, and what it tells the service manager. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
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
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { takeServiceManager } from '../../src/daemon/notify.ts';
import { Cli } from '../kit/cli.ts';

const clone = join(import.meta.dirname, '../..');
/** Prints each datagram that a unix socket gets, its lines joined by a space. */
const listener = `use Socket; $| = 1; my $name = shift; $name =~ s/^@/\\0/;
socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die; bind($s, pack_sockaddr_un($name)) or die "bind: $!";
print "bound\\n"; while (defined recv($s, my $text, 65536, 0)) { $text =~ s/\\n/ /g; print "$text\\n" }`;

let dir: string;
const children: ChildProcess[] = [];
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-systemd-'));
});
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(dir, { recursive: true, force: true });
});

/** A service manager's socket, and the lines that come in. */
async function listen(address: string): Promise<AsyncIterator<string>> {
  const child = spawn('perl', ['-e', listener, address], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  expect((await lines.next()).value).toBe('bound');
  return lines;
}

for (const kind of ['system', 'user'] as const) {
  test(`the units of the ${kind}'s manager are right`, () => {
    const from = join(clone, 'packaging/systemd', kind === 'user' ? 'user' : '.');
    const to = join(dir, kind);
    mkdirSync(to);
    const names = readdirSync(from).filter((name) => name.includes('.'));
    for (const name of names) {
      const text = readFileSync(join(from, name), 'utf8');
      // The command that a package installs; here it is the clone's.
      writeFileSync(join(to, name), text.replace('/usr/bin/drydock', join(clone, 'bin/drydock')));
    }
    const units = names.map((name) => join(to, name));
    execFileSync('systemd-analyze', [`--${kind}`, 'verify', '--man=no', '--recursive-errors=no', ...units], {
      env: { ...process.env, SYSTEMD_UNIT_PATH: `${to}:`, XDG_RUNTIME_DIR: to },
      stdio: 'pipe',
    });
  });
}

test('a daemon says when it serves and when it begins to stop, and hands the socket to nobody', async () => {
  const cli = new Cli();
  const socket = join(dir, 'notify.sock');
  const said = await listen(socket);
  const address = `unix://${join(dir, 'd.sock')}`;
  const daemon = cli.start(['daemon', '--host', address], { env: { NOTIFY_SOCKET: socket } });
  try {
    expect((await said.next()).value).toBe(`READY=1 STATUS=listening on ${address}`);
    const env = { DRYDOCK_HOST: address };
    await cli.ok(['version'], { env });
    daemon.kill('SIGTERM');
    expect((await said.next()).value).toBe('STOPPING=1 STATUS=finishing builds');
    expect(await once(daemon, 'exit')).toEqual([0, null]);
  } finally {
    daemon.kill('SIGKILL');
    cli.close();
  }
});

test('a socket that systemd opened: the first client starts the daemon', async () => {
  const cli = new Cli();
  const socket = join(dir, 'activated.sock');
  const set = ['PATH', 'DRYDOCK_ROOT'].flatMap((name) => ['-E', name]);
  const args = ['-l', socket, ...set, join(clone, 'bin/drydock'), 'daemon', '--host', 'fd://'];
  const daemon = spawn('systemd-socket-activate', args, { env: cli.environment(), stdio: 'ignore' });
  children.push(daemon);
  try {
    while (!existsSync(socket)) await sleep(5);
    const { stdout } = await cli.ok(['version'], { env: { DRYDOCK_HOST: `unix://${socket}` } });
    expect(stdout).toMatch(/^daemon /m);
    daemon.kill('SIGTERM');
    expect(await once(daemon, 'exit')).toEqual([0, null]);
    // The path is the service manager's.
    expect(existsSync(socket)).toBe(true);
  } finally {
    daemon.kill('SIGKILL');
    cli.close();
  }
});

test('a name in the abstract namespace will do; a manager that is gone is logged and no failure', async () => {
  const name = `@drydock-test-${process.pid}`;
  const said = await listen(name);
  const logged: string[] = [];
  const log = (_level: string, message: string) => void logged.push(message);
  const env: NodeJS.ProcessEnv = { NOTIFY_SOCKET: name };
  const manager = takeServiceManager(log, env);
  manager.ready('here');
  expect((await said.next()).value).toBe('READY=1 STATUS=here');
  // What the daemon starts is not the service.
  expect(env.NOTIFY_SOCKET).toBeUndefined();
  takeServiceManager(log, { NOTIFY_SOCKET: join(dir, 'none') }).stopping();
  takeServiceManager(log, {}).ready('unheard');
  expect(logged).toEqual([expect.stringContaining('the service manager cannot be told: ENOENT')]);
});
