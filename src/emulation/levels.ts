/** The levels of amd64 processors: https://gitlab.com/x86-psABIs/x86-64-ABI. Pure, but for the reading of /proc. */
import { readFileSync } from 'node:fs';

/** What each level asks for besides the levels below it, in the words of /proc/cpuinfo. */
const levels: [variant: string, flags: string][] = [
  ['v2', 'cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3'],
  ['v3', 'avx avx2 bmi1 bmi2 f16c fma abm movbe xsave'],
  ['v4', 'avx512f avx512bw avx512cd avx512dq avx512vl'],
];

/** The variants of amd64 that this machine's processor has, without v1: `['v2', 'v3']`. `text` is /proc/cpuinfo's. */
export function amd64Levels(text = cpuinfo()): string[] {
  const has = new Set(/^flags\s*:(.*)$/m.exec(text)?.[1]?.trim().split(/\s+/));
  const lacks = levels.findIndex(([, flags]) => !flags.split(' ').every((flag) => has.has(flag)));
  return levels.slice(0, lacks < 0 ? levels.length : lacks).map(([variant]) => variant);
}

function cpuinfo(): string {
  try {
    return readFileSync('/proc/cpuinfo', 'latin1');
  } catch {
    return '';
  }
}
