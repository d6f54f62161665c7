/** `drydock binfmt`: emulators are registered, run the steps of other platforms, and are removed. */
import { copyFileSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cli } from '../kit/cli.ts';
import { foreignBusybox, hasOwnHandlers, OwnHandlers } from '../kit/own-handlers.ts';

describe.skipIf(!hasOwnHandlers())('in a namespace with emulators of its own', () => {
  let cli: Cli;
  let own: OwnHandlers;

  beforeAll(async () => {
    cli = new Cli();
    own = await OwnHandlers.open(cli);
  });
  afterAll(() => {
    own?.close();
    cli?.close();
  });

  /** A context with a root for each of two platforms. */
  const bothRoots = (dockerfile: string) => {
    const dir = cli.files('both', { Dockerfile: dockerfile, 'same/file': 'the same\n' });
    for (const [arch, busybox] of [
      ['amd64', '/bin/busybox'],
      ['arm64', foreignBusybox],
    ] as const) {
      const bin = join(dir, arch, 'bin');
      mkdirSync(bin, { recursive: true });
      copyFileSync(busybox, join(bin, 'busybox'));
      for (const applet of ['sh', 'uname', 'cat', 'id']) symlinkSync('busybox', join(bin, applet));
    }
    return dir;
  };
  const dockerfile = `FROM scratch
COPY same /
ARG TARGETARCH
COPY $TARGETARCH /
ENV PATH=/bin
RUN uname -m > /machine
RUN ["cat", "/machine"]
`;
  const build = (dir: string, ...more: string[]) => [
    'build',
    '--platform',
    'linux/amd64,linux/arm64',
    ...more,
    dir,
  ];

  test('a fresh machine runs its own platform, and says how others could run', async () => {
    expect(await own.ok(['binfmt'])).toMatch(/^linux\/arm64 +no +it has no emulator/m);
    expect(await own.ok(['binfmt', 'uninstall'])).toBe('none was registered\n');
    expect((await own.drydock(['doctor'])).stdout).toMatch(/^ok +platforms +linux\/amd64.*binfmt install/m);
    const failed = await own.drydock(build(bothRoots(dockerfile)));
    expect(failed.code).toBe(1);
    expect(failed.stderr).toContain('this machine cannot run programs for linux/arm64: it has no emulator');
    expect(failed.stderr).toContain('drydock binfmt install arm64');
    expect(failed.stderr).toContain('>>> RUN uname -m > /machine');
  });

  test('install registers what is asked for, with the flag F, and a step of that platform runs', async () => {
    const said = await own.ok(['binfmt', 'install', 'arm64']);
    expect(said).toMatch(/^linux\/arm64 +yes +qemu-aarch64: .*flags .*F/m);
    expect(said).not.toContain('riscv64');
    expect(await own.ok(['binfmt'])).toMatch(/^linux\/riscv64 +no/m);
    expect((await own.drydock(['doctor'])).stdout).toMatch(/^ok +platforms +.*linux\/arm64/m);
    const dest = join(cli.dir, 'out');
    await own.ok(build(join(cli.dir, 'both'), '-t', 'two', '-o', `type=local,dest=${dest}`));
    expect(readFileSync(join(dest, 'linux_arm64/machine'), 'utf8')).toBe('aarch64\n');
    expect(readFileSync(join(dest, 'linux_amd64/machine'), 'utf8')).toBe('x86_64\n');
  });

  test('installing again changes nothing, and a handler without F is replaced', async () => {
    expect(await own.ok(['binfmt', 'install', 'aarch64'])).toMatch(/^linux\/arm64 +yes/m);
    const folder = '/proc/sys/fs/binfmt_misc';
    const head = '\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00';
    const line = `:qemu-aarch64:M::${head}::/usr/bin/qemu-aarch64-static:`;
    const script = `echo -1 > ${folder}/qemu-aarch64; printf '%s' "$1" > ${folder}/register`;
    expect((await own.run(['sh', '-c', script, 'sh', line])).code).toBe(0);
    const doctor = await own.drydock(['doctor']);
    expect(doctor.stdout).toMatch(/^LACK +platforms .*qemu-aarch64 has no flag F/m);
    const failed = await own.drydock(build(join(cli.dir, 'both'), '--no-cache'));
    expect(failed.stderr).toContain('qemu-aarch64 has no flag F');
    expect(await own.ok(['binfmt', 'install'])).toMatch(/^linux\/arm64 +yes/m);
    await own.ok(build(join(cli.dir, 'both'), '--no-cache'));
  });

  test('uninstall removes what is named, then all', async () => {
    expect(await own.ok(['binfmt', 'uninstall', 'linux/arm/v7', 's390x'])).toBe(
      'removed qemu-arm\nremoved qemu-s390x\n',
    );
    const rest = await own.ok(['binfmt', 'uninstall']);
    expect(rest).toContain('removed qemu-aarch64');
    expect(rest).not.toContain('qemu-arm\n');
    expect(await own.ok(['binfmt'])).toMatch(/^linux\/arm64 +no/m);
  });

  test('who may not, and what is not there, is a clear error', async () => {
    const error = async (args: string[], env?: Record<string, string>) => {
      const { code, stderr } = await own.drydock(args, env);
      expect(code).toBe(1);
      return stderr;
    };
    // As bin/rootless starts the command for a user who is not root.
    const rootless = { DRYDOCK_ROOTLESS: '1000:1000' };
    expect(await error(['binfmt', 'install'], rootless)).toMatch(/only root registers.*\n.*sudo/);
    expect(await error(['binfmt', 'uninstall'], rootless)).toContain('only root');
    expect(await error(['binfmt', 'install', 'vax'])).toMatch(/unknown processor "vax"\n.*arm64/);
    expect(await error(['binfmt', 'remove'])).toContain('unknown action "remove"');
    expect(await error(['--host', 'unix:///nowhere.sock', 'binfmt'])).toContain('machine that it runs on');
    const hide =
      'mount -t tmpfs none /usr/libexec/qemu-binfmt; mount --bind /dev/null /usr/bin/qemu-aarch64-static';
    const command = join(import.meta.dirname, '../../bin/drydock');
    const inside = [
      'unshare',
      '--user',
      '--map-root-user',
      '--mount',
      'sh',
      '-c',
      `${hide}; exec "$@"`,
      'sh',
    ];
    const bare = await own.run([...inside, command, 'binfmt', 'install', 'arm64']);
    expect(bare.stderr).toContain('no emulator is installed');
  });
});
