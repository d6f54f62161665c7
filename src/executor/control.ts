/** The control of a container that runs: signals, its terminal's size, and further processes in it. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { canceled, fail, throwIfAborted } from '../errors/index.ts';
import { type ViewSpec, withLiveView } from '../fs/index.ts';
import { readText } from '../linux/index.ts';
import type { StepNetwork } from '../network/index.ts';
import { capabilitiesFor } from './capabilities.ts';
import type { Confinement } from './confinement.ts';
import { failureOf } from './failure.ts';
import { type JoinTarget, join as joinContainer } from './join.ts';
import { rlimitsFor, withUsual } from './limits.ts';
import { processSpec } from './oci-spec.ts';
import type { RuntimeProcess } from './process.ts';
import type { Host } from './run-step.ts';
import { killsIn, shortageIn } from './shortage.ts';
import type { ExecControl, ExecEnd, ExecIo, ExecSpec } from './types.ts';
import { lookUpUser } from './users.ts';

/** Calls back once the process's pid is known, unless the process ends before that. */
export async function whenStarted(running: RuntimeProcess, pidFile: string, then: () => void): Promise<void> {
  let over = false;
  const end = () => {
    over = true;
  };
  running.ended.then(end, end);
  for (let wait = 2; !over; wait = Math.min(wait * 2, 50)) {
    await sleep(wait);
    if (readText(pidFile) !== '') return then();
  }
}

let lastJoin = 0;

/** What the processes of a container have in common. */
interface Container {
  host: Host;
  /** The path of its cgroup; undefined: it has none. */
  cgroup: string | undefined;
  root: ViewSpec;
  network: StepNetwork;
  usualUlimits: ExecSpec['ulimits'] | undefined;
  confinement: Confinement;
  /** Adds the variables of the container's network to a process. */
  inNetwork(process: ExecSpec): ExecSpec;
  /** Hears of each process that is run in the container. */
  joins(process: ExecSpec): void;
}

/** The control of a container's first process, by which others are run in the container. */
export function controlOf(
  target: JoinTarget,
  init: RuntimeProcess,
  { host, cgroup, root, network, usualUlimits, confinement, inNetwork, joins }: Container,
): ExecControl {
  const runIn = async (spec: ExecSpec, io: ExecIo, signal: AbortSignal): Promise<ExecEnd> => {
    throwIfAborted(signal);
    const first = init.first();
    if (first === undefined) throw fail('conflict', 'exec', 'the container does not run any more');
    joins(spec);
    const name = `join${++lastJoin}`;
    const process = processSpec({
      spec: inNetwork(spec),
      user: withLiveView(root, (view) => lookUpUser(view, spec.user)),
      capabilities: capabilitiesFor(spec.security, host.bounding, network),
      rlimits: rlimitsFor(withUsual(spec.ulimits, usualUlimits), host.most).rlimits,
      oomScore: host.oomScore,
      terminal: io.terminal === true,
      confinement:
        spec.security === 'insecure' ? { ...confinement, apparmorProfile: undefined } : confinement,
    });
    const known = cgroup === undefined ? 0 : killsIn(host.cgroups, cgroup);
    const running = joinContainer(target, first, name, process, io);
    signal.addEventListener('abort', running.kill, { once: true });
    try {
      const control: ExecControl = { signal: running.signal, resize: running.resize, exec: runIn };
      if (io.started !== undefined) {
        void whenStarted(running, join(target.bundle, `${name}.pid`), () => io.started?.(control));
      }
      const exitCode = await running.ended;
      if (signal.aborted) throw canceled(signal.reason);
      const shortage = cgroup === undefined ? undefined : shortageIn(host.cgroups, cgroup, known);
      if (exitCode === 0) return { exitCode, shortage };
      const failed = { asked: spec, shortage, log: `${name}.log` };
      return { exitCode: failureOf(target.bundle, exitCode, failed), shortage };
    } finally {
      signal.removeEventListener('abort', running.kill);
    }
  };
  return { signal: init.signal, resize: init.resize, exec: runIn };
}
