import { fail } from '../errors/index.ts';
import type { Definition, LinuxResources } from '../pb/solver/pb/ops_pb.js';

/**
 * The limits on a step's use of the machine. They are not part of the step's digest, so a cached result is taken under
 * any limits.
 */
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

/** Notes limits on every op of a definition, in a place that does not change its digest. */
export function limitSteps(definition: Definition, limits: StepLimits | undefined): void {
  if (limits === undefined) return;
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

/** The limit that an option of `dockerfile.v0`, or a parameter of `POST /build` of the same name, sets. */
const options = {
  memory: 'memory',
  memswap: 'memorySwap',
  cpushares: 'cpuShares',
  cpuperiod: 'cpuPeriod',
  cpuquota: 'cpuQuota',
  cpusetcpus: 'cpusetCpus',
  cpusetmems: 'cpusetMems',
} as const satisfies Record<string, keyof StepLimits>;

export type LimitOption = keyof typeof options;

/** The names of all limits, as spelled in options. */
export const limitNames = Object.keys(options) as readonly LimitOption[];

/** The highest number of a processor or memory node in a set. */
const maxProcessor = 8192;

/**
 * Reads limits by their option names (`memory`, `memswap`, …). `textOf` returns a limit's text, `undefined` or `''`
 * when it is not set. Returns undefined when no limit is set. Throws `invalid`. The values are those of
 * https://github.com/moby/buildkit/blob/master/frontend/dockerui/attr.go.
 */
export function parseLimits(textOf: (option: LimitOption) => string | undefined): StepLimits | undefined {
  const limits: StepLimits = {};
  for (const [name, limit] of Object.entries(options) as [LimitOption, keyof StepLimits][]) {
    const text = textOf(name);
    if (text === undefined || text === '') continue;
    if (limit === 'cpusetCpus' || limit === 'cpusetMems') limits[limit] = processors(name, text);
    else limits[limit] = amount(name, text);
  }
  return Object.keys(limits).length === 0 ? undefined : checkLimits(limits);
}

/**
 * Checks that limits can hold together, as the kernel would have them, and returns them. Throws `invalid` (hop `llb`).
 */
export function checkLimits(limits: StepLimits): StepLimits {
  const { memory, memorySwap = -1, cpuShares, cpuPeriod, cpuQuota } = limits;
  const refuse = (message: string, hint: string) => {
    throw fail('invalid', 'llb', message, { hint });
  };
  for (const [what, value, least] of [
    ['memory', memory ?? 1, 1],
    ['memory and swap together', memorySwap, -1],
  ] as const) {
    if (value < least) refuse(`the limit of ${what} cannot be ${value}`, 'Give it in bytes.');
  }
  if (memorySwap > 0 && memory === undefined) {
    refuse(
      `a limit of memory and swap together (${memorySwap}) needs a limit of memory`,
      'Set memory as well.',
    );
  }
  if (memorySwap > 0 && memory !== undefined && memorySwap < memory) {
    refuse(
      `the limit of memory and swap together (${memorySwap}) is below the limit of memory (${memory})`,
      'The first counts both: it is the same as the limit of memory, or more.',
    );
  }
  within('CPU shares', cpuShares, 2, 262_144);
  within('the CPU period', cpuPeriod, 1000, 1_000_000);
  // Below zero there is no limit.
  if (cpuQuota !== undefined && cpuQuota > 0) {
    within('the CPU quota', cpuQuota, 1000, Number.MAX_SAFE_INTEGER);
  }
  return limits;
}

/** https://docs.kernel.org/scheduler/sched-bwc.html has the bounds of periods and quotas, in µs. */
function within(what: string, value: number | undefined, least: number, most: number): void {
  if (value === undefined || (value >= least && value <= most)) return;
  const bounds = most === Number.MAX_SAFE_INTEGER ? `${least} or more` : `${least} to ${most}`;
  throw fail('invalid', 'llb', `${what} cannot be ${value}: want ${bounds}`);
}

/** Turns limits back into options; the inverse of `parseLimits`. */
export function limitOptions(limits: StepLimits | undefined): Partial<Record<LimitOption, string>> {
  const texts = Object.entries(options).flatMap(([name, limit]) => {
    const value = limits?.[limit];
    return value === undefined ? [] : [[name, String(value)]];
  });
  return Object.fromEntries(texts);
}

function amount(name: LimitOption, text: string): number {
  const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value) && (value > 0 || (name === 'memswap' && value === -1))) return value;
  const want = name === 'memswap' ? 'must be -1 (unlimited) or > 0' : 'must be > 0';
  throw fail('invalid', 'frontend', `invalid ${name} value: ${text}: ${want}`);
}

function processors(name: LimitOption, text: string): string {
  for (const part of text.split(',')) {
    const match = /^\s*(\d{1,4})(?:\s*-\s*(\d{1,4}))?\s*$/.exec(part);
    const [first, last] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])];
    if (match !== null && first <= last && last <= maxProcessor) continue;
    throw fail('invalid', 'frontend', `invalid ${name} value: ${text}`, {
      hint: 'Want a list such as 0-2,4.',
    });
  }
  return text;
}
