/**
 * The command that runs a container so that nothing of it can outlive us: it is in a mount namespace of its own, and
 * its processes in a pid namespace of its own whose first process dies with us. Pure.
 */

import { join } from 'node:path';

export interface Launch {
  bundle: string;
  id: string;
  runc: string;
  /** Where the mount namespace is found in which everything is mounted. */
  namespace: string;
  /** Folder in which the runtime keeps its state. */
  state: string;
  /** Folder with config.json. */
  config: string;
  /** Make no cgroup. */
  withoutCgroups: boolean;
  /** File in the bundle that the process's pid is written to once it runs. */
  pidFile: string;
}

/**
 * setpriv: the kernel kills the next program when we die. nsenter: into the mounts. unshare: own pid namespace, and a
 * copy of the mounts with its /proc; when it is killed, so is the first process in it, and with that one all others.
 */
export function launchCommand({
  bundle,
  id,
  runc,
  namespace,
  state,
  config,
  withoutCgroups,
  pidFile,
}: Launch): string[] {
  return [
    ...['setpriv', '--pdeathsig', 'KILL', '--'],
    ...['nsenter', `--mount=${namespace}`, '--'],
    ...['unshare', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc'],
    ...['--', runc, '--root', join(state, 'runc')],
    ...(withoutCgroups ? ['--rootless', 'true'] : []),
    ...['--log', join(bundle, 'runc.log'), '--log-format', 'json', 'run', '--keep'],
    ...['--pid-file', pidFile, '--bundle', config, id],
  ];
}
