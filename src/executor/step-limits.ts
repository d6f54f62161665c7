/** The limits of one step: what it asks for, within what the operator and the machine allow. */
import { readText } from '../linux/index.ts';
import type { CgroupHost } from './cgroups.ts';

import { capResources, checkProcessors, limitsFor, type Rlimit, rlimitsFor, withUsual } from './limits.ts';
import type { ExecSpec } from './types.ts';

/** What an operator holds every step to. */
export interface OperatorLimits {
  /** The most memory of a step, in bytes. */
  memory?: number;
  /** The most processors that a step may keep busy. */
  cpus?: number;
  /** The ulimits of steps that do not set them. */
  ulimits?: ExecSpec['ulimits'];
  /** The size of /dev/shm of steps that do not set it, in bytes; default 64 MiB. */
  shmSize?: number;
}

/** What the machine can hold a step to. */
interface MachineLimits {
  cgroups: CgroupHost;
  /** The hard limits that cannot be raised, by ulimit. */
  most: ReadonlyMap<string, number>;
  /** The most processes and threads of a step; 0: no limit. */
  pids: number;
}

interface StepLimits {
  /** The member `linux.resources` of the runtime's configuration, without devices. */
  oci: object;
  rlimits: Rlimit[];
  /** The limits as they are applied, for saying which of them was too low. */
  applied: Pick<ExecSpec, 'ulimits' | 'resources'>;
  /** A sentence for each limit that does not hold as it was asked for. */
  warnings: string[];
}

/** The limits of a step. Throws `invalid` when it asks for processors or memory nodes that there are not. */
export function limitsOfStep(
  spec: Pick<ExecSpec, 'ulimits' | 'resources'>,
  operator: OperatorLimits,
  { cgroups, most, pids }: MachineLimits,
): StepLimits {
  const { resources, lowered: capped } = capResources(spec.resources, operator);
  const wantsSet = resources?.cpusetCpus !== undefined || resources?.cpusetMems !== undefined;
  if (wantsSet && cgroups.controllers.has('cpuset')) checkProcessors(resources, onlineNow());
  const { resources: oci, missing } = limitsFor(resources, cgroups.controllers, pids);
  const ulimits = withUsual(spec.ulimits, operator.ulimits);
  const { rlimits, lowered } = rlimitsFor(ulimits, most);
  const warnings = [
    ...missing.map((controller) => `this host has no ${controller} cgroup: its limits are not applied`),
    ...lowered.map(
      (name) => `ulimit ${name} is lowered to ${most.get(name)}, the most this process may give`,
    ),
    ...capped.map((what) => `the limit of ${what} is lowered to the most that a step may have here`),
  ];
  return { oci, rlimits, applied: { ulimits, resources }, warnings };
}

/** The processors and memory nodes that this machine has at the moment. */
function onlineNow(): { cpus: string; mems: string } {
  const online = (what: string) => readText(`/sys/devices/system/${what}/online`);
  return { cpus: online('cpu'), mems: online('node') };
}
