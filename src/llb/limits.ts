import type { Definition, LinuxResources } from '../pb/solver/pb/ops_pb.js';

/** What a build's steps may use of the machine; not part of what they are, so cached results are taken whatever it says. */
export interface StepLimits {
  /** Bytes. */
  memory?: number;
  /** Bytes of memory and swap together; -1: no limit. */
  memorySwap?: number;
  cpuShares?: number;
  /** Microseconds. */
  cpuPeriod?: number;
  cpuQuota?: number;
  /** `0-2,4` */
  cpusetCpus?: string;
  cpusetMems?: string;
}

/** Notes limits with every op of a definition, where they do not change its digest. */
export function limitSteps(definition: Definition, limits: StepLimits): void {
  const linuxResources: LinuxResources = {
    $typeName: 'pb.LinuxResources',
    memory: BigInt(limits.memory ?? 0),
    memorySwap: BigInt(limits.memorySwap ?? 0),
    cpuShares: BigInt(limits.cpuShares ?? 0),
    cpuPeriod: BigInt(limits.cpuPeriod ?? 0),
    cpuQuota: BigInt(limits.cpuQuota ?? 0),
    cpusetCpus: limits.cpusetCpus ?? '',
    cpusetMems: limits.cpusetMems ?? '',
  };
  for (const metadata of Object.values(definition.metadata)) metadata.linuxResources = linuxResources;
}
