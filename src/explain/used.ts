/** What a step has used of the machine, in a line. Pure. */
import type { StepUsage } from '../progress/index.ts';
import { ramText } from '../words/index.ts';

/** The sums of a step's use that are kept; what the machine does not count is missing. */
export interface Used {
  /** ns of processor time. */
  cpu?: number;
  /** The most bytes of memory at one time, file cache included. */
  memory?: number;
  /** Bytes. */
  read?: number;
  written?: number;
}

/** The sums of a step's use, by its last sample; undefined when nothing was counted. */
export function usedIn({ samples }: StepUsage): Used | undefined {
  const last = samples.at(-1);
  const used: Used = {
    cpu: last?.cpuStat?.usageNanos,
    memory: last?.memoryStat?.peak,
    read: last?.ioStat?.readBytes,
    written: last?.ioStat?.writeBytes,
  };
  return Object.values(used).every((value) => value === undefined) ? undefined : used;
}

/** `used 1.52 s of CPU, 45MiB of memory at most, read 3MiB, wrote 12.5MiB` */
export function usedText({ cpu, memory, read, written }: Used): string {
  const parts = [
    ...(cpu === undefined ? [] : [`used ${(cpu / 1e9).toFixed(2)} s of CPU`]),
    ...(memory === undefined ? [] : [`${ramText(memory)} of memory at most`]),
    ...(read === undefined ? [] : [`read ${ramText(read)}`]),
    ...(written === undefined ? [] : [`wrote ${ramText(written)}`]),
  ];
  return parts.join(', ');
}
