/**
 * The command that runs a container so that nothing of it can outlive us: mounts are made in a mount namespace of
 * its own, processes run in a pid namespace of its own whose first process dies with us. Pure.
 */
import { overlayCommand, quote } from './overlay-command.ts';

export interface Launch {
  bundle: string;
  id: string;
  runc: string;
  /** Overlays to mount before the runtime starts. */
  overlays: { target: string; options: string[] }[];
  /** Files to be held in memory: their bytes come one after the other on file descriptor 3. */
  files: { path: string; size: number; uid: number; gid: number; mode: number }[];
  /** Folder that a tmpfs is mounted on for them. */
  memory: string | undefined;
  /** Folder with config.json. */
  config: string;
  /** Make no cgroup. */
  withoutCgroups: boolean;
  /** File in the bundle that the process's pid is written to once it runs. */
  pidFile: string;
}

/** Exit code of the script when it could not set up; `setup.log` in the bundle says why. */
export const setupFailed = 125;

/**
 * setpriv: the kernel kills the next program when we die. unshare: own mount and pid namespaces; when it is killed,
 * so is the first process in them, and with that one all others. The shell mounts, then becomes the runtime.
 */
export function launchCommand(launch: Launch): string[] {
  return [
    ...['setpriv', '--pdeathsig', 'KILL', '--'],
    ...[
      'unshare',
      '--mount',
      '--propagation',
      'private',
      '--pid',
      '--fork',
      '--kill-child',
      '--mount-proc',
      '--',
    ],
    ...['sh', '-c', script(launch)],
  ];
}

function script(launch: Launch): string {
  const { bundle, overlays, files, memory, config } = launch;
  const lines: string[] = [];
  const setup: string[] = [];
  if (memory !== undefined) {
    const target = quote(memory);
    setup.push(`mount -i -t tmpfs -o mode=0700,nosuid,nodev,noexec tmpfs ${target}`, `mkdir ${target}/runc`);
  }
  for (const { target, options } of overlays) setup.push(overlayCommand(target, options));
  for (const { path, size, uid, gid, mode } of files) {
    const target = quote(path);
    setup.push(`head -c ${size} <&3 >${target}`, `chmod ${mode.toString(8)} ${target}`);
    if (uid !== 0 || gid !== 0) setup.push(`chown ${uid}:${gid} ${target}`);
  }
  if (setup.length > 0) {
    lines.push(`{ ${setup.join(' && ')}; } 2>${quote(`${bundle}/setup.log`)} || exit ${setupFailed}`);
  }
  const state = memory ?? bundle;
  lines.push(
    [
      `exec ${quote(launch.runc)} --root ${quote(`${state}/runc`)}`,
      launch.withoutCgroups ? '--rootless true' : '',
      `--log ${quote(`${bundle}/runc.log`)} --log-format json run --keep`,
      `--pid-file ${quote(launch.pidFile)}`,
      `--bundle ${quote(config)} ${quote(launch.id)}${files.length > 0 ? ' 3<&-' : ''}`,
    ].join(' '),
  );
  return lines.join('\n');
}
