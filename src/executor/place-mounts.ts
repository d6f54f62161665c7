/**
 * Turns a step's mounts into the mounts of its assembly: folders in the bundle, folders of the host, overlays, files in
 * memory.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Mount } from '../fs/index.ts';
import type { StepNetwork } from '../network/index.ts';
import { type Assembly, type AssemblyMount, plainFlags, type Tree } from './assemble.ts';
import { hostsFile } from './host-files.ts';
import type { ExecMount, ExecSpec } from './types.ts';

/** The tree that a snapshot's mounts show. `empty` is the folder to make for mounts that show nothing. */
export function treeOf(mounts: readonly Mount[], empty: string): Tree {
  const [first] = mounts;
  if (first?.type === 'overlay') return { type: 'overlay', options: first.options };
  if (first !== undefined) return { type: 'path', path: first.source };
  mkdirSync(empty);
  return { type: 'path', path: empty };
}

/** One mount of a step. A file that must be held in memory alone is added to the assembly's files. */
export function placeMount(
  { dest, readonly, flags, source }: ExecMount,
  index: number,
  { bundle, files }: Pick<Assembly, 'bundle' | 'files'>,
): AssemblyMount {
  switch (source.type) {
    case 'host':
      return { dest, readonly, flags, tree: { type: 'path', path: source.path } };
    case 'file': {
      const path = join(bundle, 'memory', `file${index}`);
      files.push({ ...source, path });
      return { dest, readonly, tree: { type: 'path', path } };
    }
    case 'tmpfs': {
      const options: string[] = [];
      if (source.size > 0) options.push(`size=${source.size}`);
      if (source.mode !== undefined) options.push(`mode=${source.mode.toString(8)}`);
      return { dest, readonly, tree: { type: 'tmpfs', options: options.join(',') } };
    }
    case 'mounts': {
      const tree = treeOf(source.mounts, join(bundle, `empty${index}`));
      return { dest, readonly, tree, selector: source.selector };
    }
  }
}

/** The files that `hostFileMounts` mounts. */
export const hostFiles = ['/etc/resolv.conf', '/etc/hosts'];

/**
 * The mounts of the files of its network that a step sees: /etc/resolv.conf and /etc/hosts, which has the name `hosts` in
 * the bundle.
 */
export function hostFileMounts(
  spec: ExecSpec,
  bundle: string,
  { resolv, hostGateway }: StepNetwork,
  hosts = 'hosts',
): AssemblyMount[] {
  const file = (dest: string, name: string, text: string): AssemblyMount => {
    const path = join(bundle, name);
    writeFileSync(path, text, { mode: 0o644 });
    return { dest, readonly: true, flags: plainFlags, tree: { type: 'path', path } };
  };
  const hostname = spec.hostname || 'buildkitsandbox';
  return [
    file('/etc/resolv.conf', 'resolv.conf', resolv),
    file('/etc/hosts', hosts, hostsFile(hostname, spec.extraHosts, hostGateway)),
  ];
}
