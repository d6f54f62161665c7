/** What `npm run build:binary` and `npm run build:deb` make, on a machine that has next to nothing. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';

const clone = join(import.meta.dirname, '../..');
const dir = mkdtempSync(join(tmpdir(), 'drydock-packages-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

// What the packing takes most of its time for is of no interest here.
const env = { ...process.env, PACK_LEVEL: '1', PACK_BY: 'gzip' };

/** A root with glibc, and a busybox for a shell: no npm, no Node, no libraries of C++. */
function bareRoot(): string {
  const root = join(dir, 'root');
  for (const name of ['bin', 'lib64', 'tmp', 'dev', 'proc', 'context', 'own'])
    mkdirSync(join(root, name), { recursive: true });
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  for (const name of ['sh', 'tar', 'gzip', 'tail', 'mkdir', 'mv', 'rm', 'ls', 'mount'])
    symlinkSync('busybox', join(root, 'bin', name));
  const libraries = execFileSync('ldd', [process.execPath], { encoding: 'utf8' });
  for (const [, path = ''] of libraries.matchAll(/(\/\S+)/g)) {
    if (/stdc|gcc_s|atomic/.test(path)) continue;
    mkdirSync(join(root, path, '..'), { recursive: true });
    copyFileSync(path, join(root, path));
  }
  writeFileSync(join(root, 'context/Dockerfile'), 'FROM scratch\nCOPY Dockerfile /built\n');
  return root;
}

test('one file runs where there is no npm, and unpacks itself once', () => {
  const root = bareRoot();
  execFileSync('bash', [join(clone, 'scripts/binary.sh'), join(root, 'bin/drydock')], { env, stdio: 'pipe' });
  const inside = (...args: string[]) => {
    const script = 'mount -t proc proc /proc && mount -t devtmpfs dev /dev 2>/dev/null; exec "$@"';
    const own = { PATH: '/bin:/usr/sbin', DRYDOCK_BINARY_DIR: '/own' };
    return spawnSync(
      'unshare',
      ['-m', '--propagation', 'private', 'chroot', root, '/bin/sh', '-c', script, 'sh', ...args],
      {
        encoding: 'utf8',
        env: own,
      },
    );
  };
  const { stdout, stderr, status } = inside('/bin/drydock', 'build', '-q', '-o', '/tmp/out', '/context');
  expect([status, stdout, stderr]).toEqual([0, '', '']);
  expect(existsSync(join(root, 'tmp/out/built'))).toBe(true);
  // With the packed libraries, and nothing left of the unpacking.
  const [hash = '', ...more] = readdirSync(join(root, 'own'));
  expect(more).toEqual([]);
  expect(readdirSync(join(root, 'own', hash, 'lib'))).toContain('wanted');
  // A file that is cut off says so and leaves nothing.
  const cut = join(root, 'bin/cut');
  execFileSync('sh', [
    '-c',
    `head -c 3000000 ${join(root, 'bin/drydock')} | sed 's/${hash}/other/g' > ${cut}; chmod +x ${cut}`,
  ]);
  const broken = inside('/bin/cut', 'version');
  expect([broken.status, broken.stderr]).toEqual([
    1,
    expect.stringContaining('cannot be unpacked into /own'),
  ]);
  expect(readdirSync(join(root, 'own'))).toEqual([hash]);
});

test('the Debian package is whole, and its command runs', () => {
  const file = join(dir, 'drydock.deb');
  execFileSync('bash', [join(clone, 'scripts/deb.sh'), file], { env, stdio: 'pipe' });
  execFileSync('dpkg-deb', ['-x', file, join(dir, 'deb')]);
  const field = (name: string) => execFileSync('dpkg-deb', ['-f', file, name], { encoding: 'utf8' }).trim();
  expect([field('Package'), field('Depends')]).toEqual(['drydock', expect.stringContaining('runc | crun')]);
  for (const path of [
    'usr/lib/systemd/system/drydock.socket',
    'usr/share/bash-completion/completions/drydock',
    'usr/share/doc/drydock/docs/install.md',
  ])
    expect(existsSync(join(dir, 'deb', path)), path).toBe(true);
  const { stdout } = spawnSync(join(dir, 'deb/usr/bin/drydock'), ['version'], { encoding: 'utf8' });
  expect(stdout).toMatch(/^drydock \d/);
});
