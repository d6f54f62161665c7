/**
 * The command that runs a container so that no process of it can outlive this one: it is in a mount namespace of its
 * own, and its processes are in a pid namespace of their own whose first process dies with this one. Pure.
 */

import { join } from 'node:path';

/** A container that is assembled and ready to run. */
export interface Launch {
  bundle: string;
  id: string;
  runc: string;
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
  /** The file in the bundle that gets the process's pid once it runs. */
  pidFile: string;
}

/**
 * The command line. setpriv: the kernel kills the next program when this process dies. nsenter: goes into the mounts and the network.
 * unshare: a pid namespace of its own, and a copy of the mounts with its /proc; when unshare is killed, so is the
 * namespace's first process, and with it all others.
 */
export function launchCommand({
  bundle,
  id,
  runc,
  namespace,
  network,
  state,
  config,
  withoutCgroups,
  pidFile,
}: Launch): string[] {
  return [
    ...['setpriv', '--pdeathsig', 'KILL', '--'],
    ...['nsenter', `--mount=${namespace}`, ...(network === undefined ? [] : [`--net=${network}`]), '--'],
    ...['unshare', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc'],
    ...['--', runc, '--root', join(state, 'runc')],
    ...(withoutCgroups ? ['--rootless', 'true'] : []),
    ...['--log', join(bundle, 'runc.log'), '--log-format', 'json', 'run', '--keep'],
    ...['--pid-file', pidFile, '--bundle', config, id],
  ];
}
