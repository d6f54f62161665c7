import type { Definition, LinuxResources } from '../pb/solver/pb/ops_pb.js';
import type { Vertex } from './vertex.ts';

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

/** The limits noted with a step; undefined when there are none. */
export function limitsOf({ metadata }: Vertex): StepLimits | undefined {
  const noted = metadata?.linuxResources;
  if (noted === undefined) return undefined;
  const number = (value: bigint) => (value === 0n ? undefined : Number(value));
  return {
    memory: number(noted.memory),
    memorySwap: number(noted.memorySwap),
    cpuShares: number(noted.cpuShares),
    cpuPeriod: number(noted.cpuPeriod),
    cpuQuota: number(noted.cpuQuota),
    cpusetCpus: noted.cpusetCpus || undefined,
    cpusetMems: noted.cpusetMems || undefined,
  };
}
