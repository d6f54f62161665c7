/**
 * Builds of a user who is not root, without sudo: docs/rootless.md. The command makes a user namespace for itself, and
 * the images are those that root makes, bit for bit.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cli } from '../kit/cli.ts';
import { everyMark, everyMarkTar } from '../kit/every-mark.ts';
import { OrdinaryUser } from '../kit/ordinary-user.ts';

let user: OrdinaryUser;
let cli: Cli;
let rootfs: Buffer;

beforeAll(() => {
  user = new OrdinaryUser();
  cli = new Cli();
  rootfs = everyMarkTar();
});
afterAll(() => {
  cli?.close();
  user?.close();
});

const flags = ['--provenance=false', '--build-arg', 'SOURCE_DATE_EPOCH=1700000000', '--progress=plain'];

/** The digest of an image that was just built with a metadata file. */
const digestIn = (file: string) =>
  (JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>)['containerimage.digest'];

describe('an image', () => {
  for (const snapshotter of ['overlayfs', 'native']) {
    test(`is the same as root's, bit for bit (${snapshotter})`, async () => {
      const files = { Dockerfile: everyMark, 'root.tar': rootfs, file: 'f' };
      const build = (dir: string) => [
        ...['--snapshotter', snapshotter, 'build', ...flags, '--metadata-file', join(dir, 'metadata')],
        ...['-o', 'type=image,name=same,rewrite-timestamp=true', dir],
      ];
      const mine = user.files(`same-${snapshotter}`, files);
      const roots = cli.files(`same-${snapshotter}`, files);
      const root = (at: string) => ({ env: { DRYDOCK_ROOT: join(at, `root-${snapshotter}`) } });
      await user.ok(build(mine), root(user.home));
      await cli.ok(build(roots), root(cli.dir));
      expect(digestIn(join(mine, 'metadata'))).toBe(digestIn(join(roots, 'metadata')));

      const again = await user.drydock(build(mine), root(user.home));
      expect(again.stderr + again.stdout).not.toContain('not cached');
      expect(again.code).toBe(0);
    });
  }

  test('has a device node of a layer as root’s has, though the kernel makes none in a user namespace', async () => {
    const dir = user.files('devices', {
      Dockerfile:
        'FROM scratch\nADD root.tar /\nENV PATH=/bin\nRUN ls -l /dev/../devices 2>/dev/null; true\n',
      'root.tar': rootfs,
    });
    await user.ok(['build', '-o', 'type=tar,dest=out.tar', '.'], { cwd: dir });
    const list = execFileSync('tar', ['-tvf', join(dir, 'out.tar')], { encoding: 'utf8' });
    expect(list).toMatch(/^crw--w---- 0\/0 +5,1 .* dev\/console$/m);
    expect(list).toMatch(/^brw-rw---- 0\/6 +7,0 .* dev\/loop0$/m);
    expect(list).toMatch(/^-rws--x--x 65534\/65534 .* nobody$/m);
  });
});

describe('a step', () => {
  test('is root of the namespace, with the users of the range, and nobody on the machine', async () => {
    const dir = user.files('step', {
      Dockerfile: `FROM scratch
ADD root.tar /
ENV PATH=/bin
RUN id -u; cat /proc/self/uid_map; touch /f && chown 65534 /f && stat -c %u /f; cat /proc/1/cmdline | tr '\\0' ' '
RUN mknod /device c 1 3 || echo no device; hostname other || echo no other hostname
`,
      'root.tar': rootfs,
    });
    const { code, stderr } = await user.drydock(['build', '--no-cache', '--progress=plain', '.'], {
      cwd: dir,
    });
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/ 0\n/);
    expect(stderr).toMatch(new RegExp(` 0 +${user.uid} +1\n`));
    expect(stderr).toMatch(/ 65534\n/);
    expect(stderr).toContain('no device');
  });

  test('has a network of its own, in which the machine’s loopback is not to be found', async () => {
    const server = createServer((_, response) => response.end('machine'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const dir = user.files('network', {
      Dockerfile: `FROM scratch
ADD root.tar /
ENV PATH=/bin
RUN wget -q -O - http://127.0.0.1:${port}/ || echo none; ls /sys/class/net | wc -l; ip route | grep default
`,
      'root.tar': rootfs,
    });
    const { code, stderr } = await user.drydock(['build', '--no-cache', '--progress=plain', '.'], {
      cwd: dir,
    });
    server.close();
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/ none\n/);
    expect(stderr).toMatch(/ default via /);
    expect(stderr).not.toContain('WARN');
  });

  test('may have secrets, cache mounts, tmpfs, and mounts of other stages', async () => {
    const dir = user.files('mounts', {
      Dockerfile: `FROM scratch AS base
ADD root.tar /
ENV PATH=/bin
FROM base
RUN --mount=type=secret,id=s,uid=1000,mode=400 --mount=type=cache,target=/c,uid=1000 --mount=type=tmpfs,target=/t \\
  --mount=from=base,target=/base --mount=type=bind,target=/src,rw \\
  stat -c 'secret %u %a' /run/secrets/s; stat -c 'cache %u' /c; touch /t/x /c/x /src/x; cat /base/old/3
RUN --mount=type=secret,id=s,env=SECRET echo "secret: $SECRET"
RUN --network=none ip link | wc -l
`,
      'root.tar': rootfs,
      secret: 'word',
    });
    const args = ['build', '--no-cache', '--progress=plain', '--secret', 'id=s,src=secret', '.'];
    const { code, stderr } = await user.drydock(args, { cwd: dir });
    expect(code, stderr).toBe(0);
    expect(stderr).toContain('secret 1000 400');
    expect(stderr).toContain('cache 1000');
    expect(stderr).toContain('secret: word');
    expect(existsSync(join(dir, 'x'))).toBe(false);
  });

  test('is ended with its processes by Ctrl-C, and leaves nothing', async () => {
    const dir = user.files('sleep', {
      Dockerfile: 'FROM scratch\nADD root.tar /\nENV PATH=/bin\nRUN echo begun; sleep 1000 & sleep 1000\n',
      'root.tar': rootfs,
    });
    const child = user.start([user.command, 'build', '--progress=plain', dir]);
    await new Promise<void>((resolve) => {
      child.stderr.on('data', (text) => String(text).includes(' begun') && resolve());
    });
    const ended = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGINT');
    expect(await ended).toBe(130);
    expect(user.processes()).toEqual([]);
    expect(execFileSync('find', [join(user.root, 'run')], { encoding: 'utf8' })).not.toContain('exec');
  });

  test('is ended by kill -9 of the command, which is the process that the shell started', async () => {
    const child = user.start([user.command, 'build', '--progress=plain', join(user.home, 'sleep')]);
    await new Promise<void>((resolve) => {
      child.stderr.on('data', (text) => String(text).includes(' begun') && resolve());
    });
    const ended = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    await ended;
    await expect.poll(() => user.processes()).toEqual([]);
  });
});

describe('files', () => {
  test('of an output are the user’s, whoever owns them in the image', async () => {
    const dir = user.files('out', {
      Dockerfile: 'FROM scratch\nADD root.tar /\n',
      'root.tar': rootfs,
    });
    await user.ok(['build', '-o', 'type=local,dest=out', '.'], { cwd: dir });
    expect(lstatSync(join(dir, 'out/nobody')).uid).toBe(user.uid);
    expect(lstatSync(join(dir, 'out/old')).uid).toBe(user.uid);
    // No device node could be made, and nothing else stands for it there.
    expect(existsSync(join(dir, 'out/dev/console'))).toBe(false);
  });

  test('of the root are readable by this user, and nobody else; prune leaves nothing of theirs', async () => {
    expect(lstatSync(join(user.root, 'snapshots')).mode & 0o777).toBe(0o700);
    await user.ok(['prune', '-a', '--images']);
    expect(execFileSync('ls', [join(user.root, 'snapshots')], { encoding: 'utf8' })).toBe('');
  });

  test('of an owner beyond the range are refused, with the remedy', async () => {
    const dir = user.files('far', {
      Dockerfile: 'FROM scratch\nCOPY --chown=70000:70000 f /f\n',
      f: '',
    });
    const { code, stderr } = await user.drydock(['build', dir]);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/70000/);
    expect(stderr).toMatch(/\/etc\/subuid/);
  });
});

describe('a root', () => {
  test('that a user made is not taken for root’s, nor the other way round', async () => {
    const dir = user.files('whose', { Dockerfile: 'FROM scratch\nCOPY f /f\n', f: '' });
    const root = join(user.home, 'whose-root');
    await user.ok(['--root', root, 'build', dir]);
    const { code, stderr } = await cli.run(['--root', root, 'images']);
    expect(code).toBe(1);
    expect(stderr).toContain(`the layers in this root are user ${user.uid}'s rootless Drydock`);
  });
});

test('`drydock unshare` shows a program the files as a build sees them, and ends as the program does', async () => {
  expect(await user.ok(['unshare', 'id', '-u'])).toBe('0\n');
  expect((await user.drydock(['unshare', 'sh', '-c', 'exit 7'])).code).toBe(7);
  expect(await user.ok(['unshare', 'stat', '-c', '%u', user.home])).toBe('0\n');
  expect((await user.drydock(['unshare', '/nowhere'])).stderr).toContain('cannot start /nowhere');
});

test('doctor finds nothing lacking', async () => {
  // Whether a step has a network of its own is test/network's matter.
  const { code, stdout } = await user.drydock(['doctor'], { env: { DRYDOCK_NETWORK_MODE: 'host' } });
  expect(stdout).toContain(`uid ${user.uid}, root of a user namespace (rootless)`);
  expect(stdout).not.toContain('LACK');
  expect(code).toBe(0);
});

test('the library builds in a program that was started in the namespace', async () => {
  const dir = user.files('library', {
    'build.mjs': `import { build } from ${JSON.stringify(join(user.command, '../../dist/index.js'))};
const { descriptor } = await build({ context: 'context', tags: ['lib'] });
console.log(descriptor.digest);`,
    'context/Dockerfile': 'FROM scratch\nCOPY Dockerfile /f\n',
  });
  const node = process.execPath;
  const plain = await user.run([node, 'build.mjs'], { cwd: dir });
  expect(plain.stderr).toContain('drydock unshare node build.mjs');
  expect(await user.ok(['unshare', node, 'build.mjs'], { cwd: dir })).toMatch(/^sha256:/);
});
