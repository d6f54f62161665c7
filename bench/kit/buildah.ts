/** buildah on a state of its own in the bench's folder. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, folderOf } from '../bench.ts';
import { peer, versionOf } from './peers.ts';

/** Where distributions have the programs that buildah starts. */
const programPlaces = [
  '/usr/libexec/podman',
  '/usr/lib/podman',
  '/usr/local/libexec/podman',
  '/usr/local/lib/podman',
];

export interface Buildah {
  readonly version: string;
  /** The command line of a subcommand. */
  line(name: string, ...args: string[]): string[];
  /** The command line that builds a folder under a tag, with its layers cached. */
  build(context: string, tag: string): string[];
  /** Runs a subcommand. Throws when it fails. */
  run(name: string, ...args: string[]): void;
}

/** The buildah that is found (`kit/peers.ts`); undefined when there is none. */
export function findBuildah(bench: Bench): Buildah | undefined {
  const command = peer(bench, 'BUILDAH', 'buildah');
  if (command === undefined) return undefined;
  const state = folderOf(bench, 'buildah');
  // It does nothing without the program that makes networks, not even pull; here none is made.
  const helpers = folderOf(bench, 'buildah-helpers');
  writeFileSync(join(helpers, 'netavark'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
  const conf = join(helpers, 'containers.conf');
  const places = [...programPlaces, helpers];
  writeFileSync(conf, `[engine]\nhelper_binaries_dir = ${JSON.stringify(places)}\n`);
  // All of it lies in the bench's folder: /var/tmp and /run of the peers' root are not this machine's.
  const folders = ['--root', join(state, 'root'), '--runroot', join(state, 'run')];
  const line = (name: string, ...args: string[]) => [
    ...['env', `CONTAINERS_CONF_OVERRIDE=${conf}`],
    ...command,
    ...folders,
    ...['--storage-driver', 'overlay'],
    name,
    ...args,
  ];
  // runc, since crun refuses some machines' cgroups; steps run on the host's network, as the others' do.
  const flags = ['--layers', '--runtime', 'runc', '--tls-verify=false', '--network=host'];
  // Its defaults are more files and processes than a machine may allow.
  const limits = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=4096:4096'];
  return {
    version: versionOf(command),
    line,
    build: (context, tag) => line('bud', ...flags, ...limits, '-t', tag, context),
    run(name, ...args) {
      const [file = '', ...rest] = line(name, ...args);
      execFileSync(file, rest, { stdio: ['ignore', 'ignore', 'pipe'] });
    },
  };
}
