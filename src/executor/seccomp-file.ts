/**
 * Reads a seccomp profile in docker's format: the runtime spec's, with rules that hold only for some machine types,
 * kernels and capabilities. https://docs.docker.com/engine/security/seccomp/ Pure.
 */
import { fail } from '../errors/index.ts';

interface Filter {
  caps?: string[];
  arches?: string[];
  /** `4.8` */
  minKernel?: string;
}

interface Rule {
  names?: string[];
  name?: string;
  includes?: Filter;
  excludes?: Filter;
}

interface Profile {
  defaultAction?: string;
  architectures?: string[];
  archMap?: { architecture: string; subArchitectures?: string[] }[];
  syscalls?: Rule[];
}

/** A step, and the machine that it runs on. */
interface Place {
  /** `process.arch` */
  arch: string;
  /** `6.1.0-18-amd64` */
  kernel: string;
  capabilities: readonly string[];
}

/** Node's names of machine types → docker's, and libseccomp's. */
const arches: Record<string, [docker: string, native: string]> = {
  x64: ['amd64', 'SCMP_ARCH_X86_64'],
  arm64: ['arm64', 'SCMP_ARCH_AARCH64'],
  arm: ['arm', 'SCMP_ARCH_ARM'],
  ia32: ['x86', 'SCMP_ARCH_X86'],
  riscv64: ['riscv64', 'SCMP_ARCH_RISCV64'],
  ppc64: ['ppc64le', 'SCMP_ARCH_PPC64LE'],
  s390x: ['s390x', 'SCMP_ARCH_S390X'],
};

const actions = [
  'KILL',
  'KILL_PROCESS',
  'KILL_THREAD',
  'TRAP',
  'ERRNO',
  'TRACE',
  'ALLOW',
  'LOG',
  'NOTIFY',
].map((name) => `SCMP_ACT_${name}`);

/**
 * Reads the text of a profile. Returns a function that makes the member `linux.seccomp` for a step; undefined where the
 * profile filters nothing. Throws `invalid`, with the file's name and the place in it.
 */
export function readSeccompProfile(text: string, file: string): (place: Place) => object | undefined {
  const bad = (why: string) => fail('invalid', 'exec', `the seccomp profile ${file}: ${why}`);
  let profile: Profile;
  try {
    profile = JSON.parse(text) as Profile;
  } catch (cause) {
    throw bad(`it is no JSON: ${(cause as Error).message}`);
  }
  if (typeof profile !== 'object' || profile === null || Array.isArray(profile)) throw bad('it is no object');
  const { archMap, syscalls = [], ...rest } = profile;
  if (rest.defaultAction === undefined && syscalls.length === 0) return () => undefined;
  checkAction(rest.defaultAction, 'defaultAction', bad);
  if (!Array.isArray(syscalls)) throw bad('syscalls is no list');
  if (rest.architectures !== undefined && archMap !== undefined) {
    throw bad("both 'architectures' and 'archMap' are specified, use either");
  }
  for (const [i, rule] of syscalls.entries()) checkRule(rule, `syscalls[${i}]`, bad);
  return (place) => {
    const [, native] = arches[place.arch] ?? [];
    const own = archMap?.find(({ architecture }) => architecture === native);
    const architectures = own && [own.architecture, ...(own.subArchitectures ?? [])];
    const rules = syscalls.filter((rule) => holds(rule, place));
    return {
      ...rest,
      ...(architectures === undefined ? {} : { architectures }),
      syscalls: rules.map(({ includes: _, excludes: __, name, names, ...rule }) => ({
        ...without(rule, 'comment'),
        names: names ?? [name],
      })),
    };
  };
}

function without(rule: object, member: string): object {
  return Object.fromEntries(Object.entries(rule).filter(([name]) => name !== member));
}

type Bad = (why: string) => Error;

function checkAction(action: unknown, place: string, bad: Bad): void {
  if (!actions.includes(action as string))
    throw bad(`${place}: there is no action ${JSON.stringify(action)}`);
}

function checkRule(rule: unknown, place: string, bad: Bad): void {
  if (typeof rule !== 'object' || rule === null) throw bad(`${place} is no object`);
  const { name, names, action, includes, excludes } = rule as Rule & { action?: unknown };
  if (name !== undefined && names !== undefined) throw bad(`${place}: use either 'name' or 'names'`);
  const list = names ?? [name];
  if (!Array.isArray(list) || list.some((each) => typeof each !== 'string'))
    throw bad(`${place} names no calls`);
  checkAction(action, `${place}.action`, bad);
  for (const [which, filter] of Object.entries({ includes, excludes })) {
    const version = filter?.minKernel;
    if (version !== undefined && !/^\d+\.\d+$/.test(version)) {
      throw bad(`${place}.${which}.minKernel: ${JSON.stringify(version)} is no version such as 4.8`);
    }
  }
}

function holds({ includes, excludes }: Rule, { arch, kernel, capabilities }: Place): boolean {
  const [docker] = arches[arch] ?? [arch];
  const has = (cap: string) => capabilities.includes(cap);
  if (excludes?.arches?.includes(docker)) return false;
  if (excludes?.caps?.some(has)) return false;
  if (excludes?.minKernel !== undefined && isAtLeast(kernel, excludes.minKernel)) return false;
  if (includes?.arches !== undefined && includes.arches.length > 0 && !includes.arches.includes(docker))
    return false;
  if (includes?.caps !== undefined && !includes.caps.every(has)) return false;
  return includes?.minKernel === undefined || isAtLeast(kernel, includes.minKernel);
}

function isAtLeast(kernel: string, wanted: string): boolean {
  const [major = 0, minor = 0] = (/^(\d+)\.(\d+)/.exec(kernel) ?? []).slice(1).map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = wanted.split('.').map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}
