/** A Debian base image, made by debootstrap from the mirror that this machine uses. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, drydockCommand, folderOf, progress } from '../bench.ts';
import { serveBase } from './base.ts';

const suite = 'bookworm';

/** The mirror in apt's sources. */
function mirror(): string {
  const folder = '/etc/apt/sources.list.d';
  const files = ['/etc/apt/sources.list', ...readdirSync(folder).map((name) => join(folder, name))];
  for (const file of files.filter(existsSync)) {
    const lines = readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => !/^\s*#/.test(line));
    const found = /https?:\/\/[^ ]+\/debian(?= |\/? *$)/m.exec(lines.join('\n'));
    if (found !== null) return found[0];
  }
  return 'http://deb.debian.org/debian';
}

/**
 * Serves a registry with a Debian until the bench ends; gives the image's name, and the busybox image's. The Debian's
 * tar is kept beside the bench's folder: it takes a minute to make.
 */
export async function debianBase(bench: Bench): Promise<{ debian: string; busybox: string }> {
  const busybox = await serveBase(bench);
  const kept = join(bench.folder, '../kept');
  const tar = join(kept, `debian-${suite}-2.tar`);
  if (!existsSync(tar)) {
    progress(`making a Debian with debootstrap (${tar})`);
    mkdirSync(kept, { recursive: true });
    const root = folderOf(bench, 'debootstrap');
    const quiet = { stdio: ['ignore', 'ignore', 'inherit'] as ['ignore', 'ignore', 'inherit'] };
    execFileSync(
      'debootstrap',
      ['--variant=minbase', '--include=ca-certificates', suite, root, mirror()],
      quiet,
    );
    // As Debian's own images have it.
    writeFileSync(join(root, 'etc/dpkg/dpkg.cfg.d/apt-speedup'), 'force-unsafe-io\n');
    rmSync(join(root, 'var/cache/apt/archives'), { recursive: true, force: true });
    execFileSync(
      'tar',
      ['cf', `${tar}.part`, '--exclude=./dev/*', '--exclude=./proc/*', '-C', root, '.'],
      quiet,
    );
    renameSync(`${tar}.part`, tar);
    rmSync(root, { recursive: true, force: true });
  }
  const context = folderOf(bench, 'debian');
  execFileSync('cp', [tar, join(context, 'root.tar')]);
  // npm trusts whom this machine trusts: its way to the registry may go through a proxy.
  execFileSync('cp', ['-L', '/etc/ssl/certs/ca-certificates.crt', context]);
  const dockerfile = [
    'FROM scratch',
    'ADD root.tar /',
    'COPY ca-certificates.crt /etc/ssl/certs/',
    'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt',
    'CMD ["bash"]',
    '',
  ];
  writeFileSync(join(context, 'Dockerfile'), dockerfile.join('\n'));
  const debian = busybox.replace('/base:', '/debian:');
  const root = folderOf(bench, 'debian-root');
  execFileSync(drydockCommand, ['--root', root, 'build', '-q', '-t', debian, '--push', context]);
  rmSync(context, { recursive: true });
  return { debian, busybox };
}
