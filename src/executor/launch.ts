/**
 * The command that runs a container so that no process of it can outlive this one: it is in a mount namespace of its
 * own, and its processes are in a pid namespace of their own whose first process dies with this one. Pure.
 */

import { join } from 'node:path';
import { fail } from '../errors/index.ts';

/** A container that is assembled and ready to run. */
export interface Launch {
  bundle: string;
  id: string;
  runtime: string;
  /** The path of the mount namespace in which everything is mounted. */
  namespace: string;
  /** The path of the network namespace; undefined: this process's own, or one that the runtime makes. */
  network: string | undefined;
  /** The folder in which the runtime keeps its state. */
  state: string;
  /** The folder with config.json. */
  config: string;
  /** Makes no cgroup. */
  withoutCgroups: boolean;
  /** Leaves the container among this machine's processes (process-sandbox.ts). */
  hostPids: boolean;
  /** The file in the bundle that gets the process's pid once it runs. */
  pidFile: string;
}

/**
 * The command of a process that waits until it is told, on its file descriptor 3, what to become: one line for its shell.
 * setpriv: the kernel kills the next program when this process dies. unshare: a pid namespace of its own; when unshare is
 * killed, so is the namespace's first process, and with it all others. The shell is that first process, and nothing of it
 * depends on what will be run. With `hostPids` there is no namespace, and the process itself becomes the runtime.
 */
export const waitingCommand = (hostPids: boolean): readonly string[] => [
  ...['setpriv', '--pdeathsig', 'KILL', '--'],
  ...(hostPids ? [] : ['unshare', '--pid', '--fork', '--kill-child', '--']),
  ...['sh', '-c', 'IFS= read -r line <&3 && exec 3<&- && eval "$line"'],
];

/**
 * What it is told, for a container. nsenter: goes into the mounts and the network. unshare: a copy of the mounts with the
 * pid namespace's own /proc.
 */
export function launchCommand({
  bundle,
  id,
  runtime,
  namespace,
  network,
  state,
  config,
  withoutCgroups,
  hostPids,
  pidFile,
}: Launch): string[] {
  return [
    ...['nsenter', `--mount=${namespace}`, ...(network === undefined ? [] : [`--net=${network}`]), '--'],
    ...(hostPids ? [] : ['unshare', '--mount', '--propagation', 'private', '--mount-proc', '--']),
    ...[runtime, '--root', join(state, 'runtime')],
    ...(withoutCgroups ? ['--rootless', 'true'] : []),
    ...['--log', join(bundle, 'runtime.log'), '--log-format', 'json', 'run', '--keep'],
    ...['--pid-file', pidFile, '--bundle', config, id],
  ];
}

/**
 * A command in a folder, as one line for a shell. Throws `invalid` when it has a line break in it.
 *
 *     shellLine(['echo', "it's"], '/tmp') // cd '/tmp' && exec 'echo' 'it'\\''s'
 */
export function shellLine(command: readonly string[], cwd: string): string {
  const quoted = [cwd, ...command].map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  const line = `cd ${quoted[0]} && exec ${quoted.slice(1).join(' ')}`;
  if (!line.includes('\n')) return `${line}\n`;
  throw fail('invalid', 'exec', 'a path of the root folder has a line break in it', {
    hint: 'Choose another --root.',
  });
}
