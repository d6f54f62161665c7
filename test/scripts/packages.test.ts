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

/** Copies what a program is linked with, but for the libraries of C++. */
function copyLibraries(program: string, root: string): void {
  const libraries = execFileSync('ldd', [program], { encoding: 'utf8' });
  for (const [, path = ''] of libraries.matchAll(/(\/\S+)/g)) {
    if (/stdc|gcc_s|atomic/.test(path)) continue;
    mkdirSync(join(root, path, '..'), { recursive: true });
    copyFileSync(path, join(root, path));
  }
}

/** A root with glibc, and a busybox for a shell: no npm, no Node, no libraries of C++. */
function bareRoot(name: string): string {
  const root = join(dir, name);
  for (const folder of ['bin', 'lib64', 'tmp', 'dev', 'proc', 'context', 'own'])
    mkdirSync(join(root, folder), { recursive: true });
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  for (const tool of ['sh', 'tar', 'gzip', 'tail', 'mkdir', 'mv', 'rm', 'ls', 'mount'])
    symlinkSync('busybox', join(root, 'bin', tool));
  copyLibraries(process.execPath, root);
  writeFileSync(join(root, 'context/Dockerfile'), 'FROM scratch\nCOPY Dockerfile /built\n');
  return root;
}

test('one file runs where there is no npm, and unpacks itself once', () => {
  const root = bareRoot('one-file');
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

test('dpkg installs it, removes all of the program, and purges what it kept', () => {
  const root = bareRoot('package');
  // Debian's own: busybox's shell takes its own rm, which knows no mounts.
  for (const [name, program] of [
    ['sh', '/bin/dash'],
    ['rm', '/bin/rm'],
  ] as const) {
    rmSync(join(root, 'bin', name));
    copyFileSync(program, join(root, 'bin', name));
    copyLibraries(program, root);
  }
  const file = join(dir, 'drydock.deb');
  for (const name of ['info', 'updates', 'triggers'])
    mkdirSync(join(root, 'var/lib/dpkg', name), { recursive: true });
  writeFileSync(join(root, 'var/lib/dpkg/status'), '');
  const dpkg = (...args: string[]) =>
    execFileSync('dpkg', [`--root=${root}`, '--force-depends', ...args], {
      env: { ...env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  const there = (...paths: string[]) => paths.filter((path) => existsSync(join(root, path)));
  const program = 'usr/lib/drydock';
  dpkg('-i', file);
  expect(there('usr/bin/drydock', program)).toHaveLength(2);
  // What root's commands keep beside the program, and what a daemon keeps.
  const [bundle = ''] = readdirSync(join(root, program, 'dist')).filter((name) => name.startsWith('bundle-'));
  const kept = join(root, program, 'dist', bundle, '.compile-cache/x');
  mkdirSync(kept, { recursive: true });
  mkdirSync(join(root, 'var/lib/drydock/blobs'), { recursive: true });
  dpkg('-i', file);
  expect(existsSync(kept)).toBe(false);
  mkdirSync(kept, { recursive: true });
  expect(dpkg('-r', 'drydock')).not.toContain('not empty');
  expect(there('usr/bin/drydock', program, 'usr/share/doc/drydock', 'var/lib/drydock')).toEqual([
    'var/lib/drydock',
  ]);
  dpkg('-P', 'drydock');
  expect(there('var/lib/drydock')).toEqual([]);
});
