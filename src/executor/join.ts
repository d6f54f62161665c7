/** One more process in a container that runs. */
import type { ProcessSpec } from './oci-spec.ts';
import { type RuntimeProcess, start } from './process.ts';
import type { ExecIo } from './types.ts';

export interface JoinTarget {
  /** The container's own folder on this host. */
  bundle: string;
  /** Where the runtime keeps its state, as the container's mount namespace has it. */
  state: string;
  id: string;
  runc: string;
}

/** The command that goes into the namespaces the runtime of a container lives in, and has it start a process there. */
function joinCommand(target: JoinTarget, first: number, name: string): string[] {
  return [
    ...['setpriv', '--pdeathsig', 'KILL', '--'],
    ...['nsenter', '--target', String(first), '--mount', '--pid', '--'],
    ...[target.runc, '--root', `${target.state}/runc`, '--log', `${target.bundle}/${name}.log`],
    ...['--log-format', 'json', 'exec', '--process', '/dev/fd/3'],
    ...['--pid-file', `${target.bundle}/${name}.pid`, target.id],
  ];
}

/** Starts it. The process's configuration is never on the disk. */
export function join(
  target: JoinTarget,
  first: number,
  name: string,
  process: ProcessSpec,
  io: ExecIo,
): RuntimeProcess {
  const data = Buffer.from(JSON.stringify(process));
  return start(joinCommand(target, first, name), target.bundle, io, data);
}
