/**
 * Steps of root's Drydock in a user namespace of their own (`userns-remap`): root in a step is an ordinary user of the
 * machine, and the images are the same.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cli } from '../kit/cli.ts';
import { everyMark, everyMarkTar } from '../kit/every-mark.ts';
import { OrdinaryUser } from '../kit/ordinary-user.ts';

let cli: Cli;
let user: OrdinaryUser;
let rootfs: Buffer;
let remap: Record<string, string>;
/** The user of the machine who is root in a step. */
let first: number;

beforeAll(() => {
  cli = new Cli();
  user = new OrdinaryUser();
  rootfs = everyMarkTar();
  remap = { DRYDOCK_USERNS_REMAP: user.name };
  const line = readFileSync('/etc/subuid', 'utf8')
    .split('\n')
    .find((each) => each.startsWith(`${user.name}:`));
  first = Number(line?.split(':')[1]);
});
afterAll(() => {
  cli?.close();
  user?.close();
});

let contexts = 0;
const context = (dockerfile: string) =>
  cli.files(`context${++contexts}`, {
    Dockerfile: `FROM scratch\nADD root.tar /\nENV PATH=/bin\n${dockerfile}`,
    'root.tar': rootfs,
  });

async function output(dockerfile: string, args: readonly string[] = [], env = remap): Promise<string> {
  const { code, stderr } = await cli.run(['build', '--progress=plain', ...args, context(dockerfile)], {
    env,
  });
  expect(code, stderr).toBe(0);
  return stderr.replaceAll(/^#\d+ [\d.]+ /gm, '');
}

describe('an image', () => {
  for (const snapshotter of ['overlayfs', 'native']) {
    test(`is the same as without, bit for bit (${snapshotter})`, async () => {
      const digests = [];
      for (const [name, env] of [
        ['with', remap],
        ['without', {}],
      ] as const) {
        const dir = cli.files(`${snapshotter}-${name}`, {
          Dockerfile: everyMark,
          'root.tar': rootfs,
          file: 'f',
        });
        const flags = ['--provenance=false', '--build-arg', 'SOURCE_DATE_EPOCH=1700000000'];
        await cli.ok(
          [
            ...['--snapshotter', snapshotter, 'build', ...flags, '--metadata-file', join(dir, 'metadata')],
            ...['-o', 'type=image,name=same,rewrite-timestamp=true', dir],
          ],
          { env: { ...env, DRYDOCK_ROOT: join(cli.dir, `root-${snapshotter}-${name}`) } },
        );
        const metadata = JSON.parse(readFileSync(join(dir, 'metadata'), 'utf8')) as Record<string, string>;
        digests.push(metadata['containerimage.digest']);
      }
      expect(digests[0]).toBe(digests[1]);
    });
  }
});

describe('a step', () => {
  test('is root inside, and an ordinary user of the machine', async () => {
    const build = cli.start(
      ['build', '--no-cache', '--progress=plain', context('RUN id -u; cat /proc/self/uid_map; sleep 977')],
      { env: remap },
    );
    let said = '';
    build.stderr?.on('data', (text) => {
      said += text;
    });
    await expect.poll(() => sleepers()).toEqual([first]);
    // What it has said comes by another way than the list of processes.
    await expect.poll(() => said).toMatch(/ 0\n/);
    await expect.poll(() => said).toMatch(new RegExp(` 0 +${first} +65536\n`));
    build.kill('SIGINT');
    await expect.poll(() => sleepers()).toEqual([]);
  });

  test('opens its output anew, and has its mounts with its own users', async () => {
    const said = await output(
      `RUN echo again >/dev/stdout
RUN --mount=type=secret,id=s,uid=1000,mode=400 --mount=type=cache,target=/c,uid=7 --mount=type=tmpfs,target=/t \\
  stat -c '%n %u' /run/secrets/s /c /t /etc/hosts /nobody && touch /t/x /c/x && cat /run/secrets/s
RUN --network=none mknod /device c 1 3 || echo no device
RUN cat /proc/1/environ >/dev/null && echo own; mount -t tmpfs none /tmp 2>/dev/null || echo no mount
USER ann
RUN id -u; echo x >/sticky/ann; stat -c %u /sticky/ann
`,
      ['--secret', `id=s,src=${cli.files('secret', { s: 'word' })}/s`],
    );
    expect(said).toContain('again\n');
    expect(said).toContain('/run/secrets/s 1000\n/c 7\n/t 0\n/etc/hosts 0\n/nobody 65534\n');
    expect(said).toContain('word');
    expect(said).toContain('no device');
    expect(said).toContain('no mount');
    expect(said).toMatch(/\n1000\n1000\n/);
  });

  test('shares cache mounts and layers with steps that are not mapped: on the disk owners are as in the image', async () => {
    const dockerfile = (run: string) => `RUN --mount=type=cache,id=shared,target=/c ${run}`;
    await output(dockerfile('chown 1000 /c && echo mapped >/c/f && chown 1000 /c/f'));
    expect(await output(dockerfile('stat -c %u /c/f; cat /c/f'), [], {})).toContain('1000\nmapped\n');
    const folder = join(cli.root, 'cache-mounts');
    const file = execFileSync('find', [folder, '-name', 'f'], { encoding: 'utf8' }).trim();
    expect(statSync(file).uid).toBe(1000);
  });

  test.each([
    ['default', 'eth0 lo'],
    ['none', 'lo'],
  ])('sees its own interfaces in /sys, which it cannot change: network %s', async (network, interfaces) => {
    const said = await output(
      `RUN --network=${network} echo /sys/class/net/*; touch /sys/x 2>&1; grep -c ' /sys/kernel/' /proc/self/mounts; [ -z "$(ls /sys/firmware)" ] && echo hidden`,
    );
    const paths = interfaces.split(' ').map((name) => `/sys/class/net/${name}`);
    expect(said).toContain(`${paths.join(' ')}\n`);
    expect(said).toMatch(/touch: \/sys\/x: Read-only file system\n0\nhidden\n/);
  });

  test('shows the host’s interfaces in /sys where it has the host’s network', async () => {
    // Steps of other tests come and go with theirs meanwhile.
    const own = () => readdirSync('/sys/class/net').map((name) => `/sys/class/net/${name}`);
    const before = own();
    const said = await output('RUN --network=host echo /sys/class/net/*', ['--allow', 'network.host']);
    const both = own().filter((name) => before.includes(name));
    expect(both).toContain('/sys/class/net/lo');
    expect(said.split(/\s+/)).toEqual(expect.arrayContaining(both));
  });

  test('with security.insecure is the machine’s root, as it asked to be', async () => {
    const said = await output('RUN --security=insecure cat /proc/self/uid_map', [
      '--allow',
      'security.insecure',
    ]);
    expect(said).toMatch(/ 0 +0 +4294967295\n/);
  });
});

test('a user without ranges is named', async () => {
  const { code, stderr } = await cli.run(['images'], { env: { DRYDOCK_USERNS_REMAP: 'nobody' } });
  expect(code).toBe(1);
  expect(stderr).toContain('userns-remap: nobody has no range in /etc/subuid');
});

/** The users of the machine who run `sleep 977`. */
function sleepers(): number[] {
  return readdirSync('/proc').flatMap((pid) => {
    try {
      if (readFileSync(`/proc/${pid}/cmdline`, 'latin1') !== 'sleep\u0000977\u0000') return [];
      return [Number(/^Uid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])];
    } catch {
      return [];
    }
  });
}
