/** What a step has used of the machine in all. Pure. */
import type { StepUsage } from './usage.ts';

/** The sums of a step's use. What the machine does not count is missing. */
export interface UsedSum {
  /** ns of processor time. */
  cpu?: number;
  /** The most bytes of memory at one time, file cache included. */
  memory?: number;
  /** Bytes. */
  read?: number;
  written?: number;
}

/** The sums, by a step's samples: times and transfers by the last one, memory by the largest. */
export function usedSum({ samples }: StepUsage): UsedSum {
  const last = samples.at(-1);
  const memory = samples.map(({ memoryStat }) =>
    Math.max(memoryStat?.peak ?? 0, (memoryStat?.anon ?? 0) + (memoryStat?.file ?? 0)),
  );
  const sum: UsedSum = {
    cpu: last?.cpuStat?.usageNanos,
    memory: Math.max(0, ...memory) || undefined,
    read: last?.ioStat?.readBytes,
    written: last?.ioStat?.writeBytes,
  };
  return Object.fromEntries(Object.entries(sum).filter(([, value]) => value !== undefined)) as UsedSum;
}
