/** Where a host forbids user namespaces, the build's error and `doctor` name the setting and the remedy. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rootlessProblem } from '../../src/linux/rootless-problem.ts';
import { OrdinaryUser } from '../kit/ordinary-user.ts';

let user: OrdinaryUser;
let withoutRanges: OrdinaryUser;
let context: string;

beforeAll(() => {
  user = new OrdinaryUser();
  withoutRanges = new OrdinaryUser({ ranges: false });
  context = user.files('context', { Dockerfile: 'FROM scratch\nCOPY Dockerfile /f\n' });
});
afterAll(() => {
  user?.close();
  withoutRanges?.close();
});

describe('on this machine', () => {
  test('a user without a range is told of usermod, with a range that nobody has', async () => {
    const dir = withoutRanges.files('context', { Dockerfile: 'FROM scratch\nCOPY Dockerfile /f\n' });
    const { code, stderr } = await withoutRanges.drydock(['build', dir]);
    expect(code).toBe(1);
    expect(stderr).toContain(`${withoutRanges.name} has no range of users in /etc/subuid`);
    const command = /sudo usermod --add-subuids (\d+)-(\d+) --add-subgids \1-\2 \S+/.exec(
      stderr,
    )?.[0] as string;
    execFileSync('sh', ['-c', command.replace('sudo ', '')]);
    expect((await withoutRanges.drydock(['build', dir])).code).toBe(0);
  });

  test('a machine without newuidmap is told of the package', async () => {
    const bin = join(user.home, 'bin');
    mkdirSync(bin);
    for (const name of ['unshare', 'id', 'sh', 'env', 'true', 'readlink'])
      symlinkSync(`/usr/bin/${name}`, join(bin, name));
    const { code, stderr } = await user.drydock(['build', context], { env: { PATH: bin } });
    expect(code).toBe(1);
    expect(stderr).toContain('newuidmap and newgidmap are not installed');
    expect(stderr).toContain('apt-get install uidmap');
    const doctor = await user.drydock(['doctor'], { env: { PATH: bin } });
    expect(doctor.stdout).toMatch(/LACK {2}user .*newuidmap and newgidmap are not installed/);
  });

  test('where the limit on user namespaces is 0, the sysctl is named', async () => {
    // In a user namespace of the test's own, the limit is one's own and holds for those below it.
    const out = execFileSync(
      'bash',
      [
        '-c',
        `lower='echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"'
         coproc unshare --user sh -c 'echo; read -r line; exec "$@"' sh sh -c "$lower" sh "$@" 2>&1
         pid=$COPROC_PID; read -r line <&\${COPROC[0]}
         echo 0 0 4294967295 >/proc/$pid/uid_map; echo 0 0 4294967295 >/proc/$pid/gid_map
         echo >&\${COPROC[1]}; cat <&\${COPROC[0]} || true`,
        'bash',
        ...['setpriv', '--reuid', String(user.uid), '--regid', String(user.gid), '--clear-groups'],
        ...['env', `HOME=${user.home}`, user.command, 'build', context],
      ],
      { encoding: 'utf8' },
    );
    expect(out).toContain('user.max_user_namespaces is 0');
    expect(out).toContain('sudo sysctl user.max_user_namespaces=15000');
  });

  test('a process that may gain no privileges is told so', async () => {
    const { code, stderr } = await user.run(['setpriv', '--no-new-privs', user.command, 'build', context]);
    expect(code).toBe(1);
    expect(stderr).toContain('were not mapped: newuidmap');
    expect(stderr).toContain('NoNewPrivileges=');
  });

  test('commands for a daemon elsewhere, and those without a root, need no namespace', async () => {
    const { stderr } = await withoutRanges.drydock(['--host', 'unix:///nowhere.sock', 'images']);
    expect(stderr).toContain('/nowhere.sock');
    expect(await withoutRanges.ok(['version'])).toContain('drydock');
  });
});

describe('on another machine', () => {
  const on = (files: Record<string, string>, state = 'refused') =>
    rootlessProblem(state, { read: (path) => files[path] ?? '', uid: 1000 });

  test('of Ubuntu 24.04, AppArmor’s setting is named', () => {
    const found = on({ '/proc/sys/kernel/apparmor_restrict_unprivileged_userns': '1\n' });
    expect(found?.why).toContain('kernel.apparmor_restrict_unprivileged_userns is 1');
    expect(found?.remedy).toContain('packaging/apparmor/drydock');
  });

  test('of Debian with user namespaces turned off, its setting is named', () => {
    const found = on({ '/proc/sys/kernel/unprivileged_userns_clone': '0\n' });
    expect(found?.remedy).toContain('sudo sysctl kernel.unprivileged_userns_clone=1');
  });

  test('in a container, its seccomp profile is named', () => {
    expect(on({ '/proc/self/status': 'Seccomp:\t2\n' })?.remedy).toContain('seccomp=unconfined');
  });

  test('a range is proposed that no other user has', () => {
    const found = on(
      { '/etc/passwd': 'ann:x:1000:1000::/:/bin/sh\n', '/etc/subuid': 'bob:100000:65536\n' },
      'subuid',
    );
    expect(found?.why).toContain('ann has no range');
    expect(found?.remedy).toBe('sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 ann');
  });
});
