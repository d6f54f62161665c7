/** Runs one more process in a container that runs. */
import type { ProcessSpec } from './oci-spec.ts';
import { type RuntimeProcess, start } from './process.ts';
import type { ExecIo } from './types.ts';

export interface JoinTarget {
  /** The container's own folder on this host. */
  bundle: string;
  /** The folder of the runtime's state, as the container's mount namespace has it. */
  state: string;
  id: string;
  runtime: string;
  /** Whether the runtime was started in a network namespace of the container's own. */
  hasNetwork: boolean;
  /** Whether the container is among this machine's processes. */
  hostPids: boolean;
}

/**
 * The command that enters the namespaces in which the runtime of a container lives, and has the runtime start a
 * process.
 */
function joinCommand(target: JoinTarget, first: number, name: string): string[] {
  return [
    ...['setpriv', '--pdeathsig', 'KILL', '--'],
    ...[
      'nsenter',
      '--target',
      String(first),
      '--mount',
      ...(target.hostPids ? [] : ['--pid']),
      ...(target.hasNetwork ? ['--net'] : []),
      '--',
    ],
    ...[target.runtime, '--root', `${target.state}/runtime`, '--log', `${target.bundle}/${name}.log`],
    ...['--log-format', 'json', 'exec', '--process', '/dev/fd/3'],
    ...['--pid-file', `${target.bundle}/${name}.pid`, target.id],
  ];
}

/**
 * Starts the process. Its configuration is never on the disk.
 *
 *     join({ bundle, state, id, runtime: 'runc' }, first, 'join1', process, io)
 */
export function join(
  target: JoinTarget,
  first: number,
  name: string,
  process: ProcessSpec,
  io: ExecIo,
): RuntimeProcess {
  const data = Buffer.from(JSON.stringify(process));
  return start(joinCommand(target, first, name), io, {
    data,
    hostPids: target.hostPids ? {} : undefined,
  });
}
