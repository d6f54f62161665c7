/**
 * What a step has used of the machine, in the JSON shape of BuildKit's records: numbers of the kernel's, as they were
 * at some moments. https://github.com/moby/buildkit/tree/master/executor/resources/types
 */

/** The samples of one step, in the order of their times; the last one is from after its end. */
export interface StepUsage {
  samples: UsageSample[];
  /** Seconds of processor time that the whole machine spent while the step ran. */
  sysCPUStat?: MachineCpu;
}

/** What a step's processes had used together by one moment. What this machine does not count is left out. */
export interface UsageSample {
  /** RFC 3339. */
  timestamp: string;
  /** Nanoseconds; periods are those of a quota. */
  cpuStat?: {
    usageNanos?: number;
    userNanos?: number;
    systemNanos?: number;
    nrPeriods?: number;
    nrThrottled?: number;
    throttledNanos?: number;
    pressure?: Pressure;
  };
  /** Bytes at the moment, bytes at most (`peak`), and counts of events. */
  memoryStat?: Partial<Record<MemoryNumber, number>> & { pressure?: Pressure };
  /** Bytes and operations, over all disks. */
  ioStat?: {
    readBytes?: number;
    writeBytes?: number;
    discardBytes?: number;
    readIOs?: number;
    writeIOs?: number;
    discardIOs?: number;
    pressure?: Pressure;
  };
  pidsStat?: { current?: number };
}

export type MemoryNumber =
  | 'swapBytes'
  | 'anon'
  | 'file'
  | 'kernel'
  | 'kernelStack'
  | 'pageTables'
  | 'sock'
  | 'vmalloc'
  | 'shmem'
  | 'fileMapped'
  | 'fileDirty'
  | 'fileWriteback'
  | 'slab'
  | 'pgscan'
  | 'pgsteal'
  | 'pgfault'
  | 'pgmajfault'
  | 'peak'
  | 'lowEvents'
  | 'highEvents'
  | 'maxEvents'
  | 'oomEvents'
  | 'oomKillEvents';

/** Shares of time in which some, or all, had to wait (https://docs.kernel.org/accounting/psi.html). */
export interface Pressure {
  some: PressureValues | null;
  full: PressureValues | null;
}

export interface PressureValues {
  avg10: number | null;
  avg60: number | null;
  avg300: number | null;
  /** µs */
  total: number | null;
}

/** Seconds of processor time by what they went into. */
export interface MachineCpu {
  user: number;
  nice: number;
  system: number;
  idle: number;
  iowait: number;
  irq: number;
  softirq: number;
  steal: number;
  guest: number;
  guestNice: number;
}

/** The whole machine at one moment. */
export interface MachineSample {
  timestamp: string;
  cpuStat?: MachineCpu;
  procStat?: { contextSwitches: number; processCreated: number; processesRunning: number };
  /** Bytes. */
  memoryStat?: Record<string, number>;
  cpuPressure?: Pressure;
  memoryPressure?: Pressure;
  ioPressure?: Pressure;
}

/** What a step has asked for by the proxy of its network. URLs are without passwords. */
export interface NetworkUse {
  requests: readonly { method: string; url: string; status: number }[];
  /** The contents that were got whole, as `sha256:…`. */
  materials: readonly { url: string; digest: string }[];
  /** What cannot be told by a digest, and why. */
  incomplete: readonly { method: string; url: string; reason: string }[];
}
