/** The image of packaging/image with the programs of this machine, for tests that run it. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { Cli } from './cli.ts';

const clone = join(import.meta.dirname, '../..');

/** Builds the image under a name, and returns the path of its archive. `target` is a stage of its Dockerfile. */
export async function ownImage(cli: Cli, name: string, target?: string): Promise<string> {
  const context = join(cli.dir, 'image');
  const programs = join(cli.dir, 'programs');
  execFileSync('bash', [join(clone, 'scripts/image.sh'), '--context', context]);
  const arch = process.arch === 'arm64' ? 'arm64' : 'amd64';
  const collect = [join(context, 'programs'), 'collect', join(programs, 'out')];
  execFileSync('sh', [...collect, join(context, arch, 'node_modules')], { stdio: 'pipe' });
  const dockerfile = join(clone, 'packaging/image/Dockerfile');
  const named = [
    '--build-context',
    `programs=${programs}`,
    ...(target === undefined ? [] : ['--target', target]),
  ];
  await cli.ok(['build', '-q', '-f', dockerfile, ...named, '-t', name, context]);
  const archive = join(cli.dir, 'image.tar');
  await cli.ok(['save', '-o', archive, name]);
  return archive;
}
