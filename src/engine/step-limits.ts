/** What an operator sets for every step (its limits, its runtime) and for transfers, read from text. Pure. */
import { fail, prefixed } from '../errors/index.ts';
import { parseUlimit, type Ulimit } from '../llb/index.ts';
import { durationMs, ramInBytes } from '../words/index.ts';

/** The limits that hold for every step of an engine. */
export interface OperatorLimits {
  /**
   * The largest number of processes and threads of one step. 0: no limit. Undefined: 8192, or a quarter of the
   * machine's limit if that is less.
   */
  stepPids?: number;
  /** The oom_score_adj of steps, 0 to 1000. Undefined: 500 more than this process has. */
  stepOomScore?: number;
  /** The most memory of a step, in bytes; a build may ask for less. Undefined: as much as the build asks for. */
  stepMemory?: number;
  /** The most processors that a step may keep busy, 0.01 or more; a build may ask for less. */
  stepCpus?: number;
  /** The longest time that a step may run, in ms. */
  stepTimeout?: number;
  /** The most bytes of a step's output that are shown; Infinity or undefined: all. */
  stepLogSize?: number;
  /** The most bytes of a step's output that are shown in a second, on average; Infinity or undefined: all. */
  stepLogSpeed?: number;
  /** The ulimits of steps whose build does not set them. */
  stepUlimits?: readonly Ulimit[];
  /** The size of /dev/shm of steps whose build does not set it, in bytes; default 64 MiB. */
  stepShmSize?: number;
  /** The OCI runtime of steps, a name or a path; default: crun where it works, else runc. */
  runtime?: string;
  /** The largest number of steps that run at one time, over all builds. */
  maxParallelism?: number;
  /** The largest number of blobs that are fetched at one time, over all builds; default 4. */
  maxConcurrentDownloads?: number;
  /** The largest number of blobs of one push that are sent at one time; default 4. */
  maxConcurrentUploads?: number;
  /** How often a request to a registry is tried in all; default 5. */
  maxDownloadAttempts?: number;
}

/** The settings, by their names in a daemon's configuration. */
const readers = {
  'max-concurrent-downloads': (name, text) => ({ maxConcurrentDownloads: countOf(name, text, 1, 1000) }),
  'max-concurrent-uploads': (name, text) => ({ maxConcurrentUploads: countOf(name, text, 1, 1000) }),
  'max-download-attempts': (name, text) => ({ maxDownloadAttempts: countOf(name, text, 1, 1000) }),
  'max-parallelism': (name, text) => ({ maxParallelism: countOf(name, text, 1, 1_000_000) }),
  'step-cpus': (name, text) => ({ stepCpus: cpusOf(name, text) }),
  'step-log-max-size': (name, text) => ({ stepLogSize: logLimitOf(name, text) }),
  'step-log-max-speed': (name, text) => ({ stepLogSpeed: logLimitOf(name, text) }),
  'step-memory': (name, text) => ({ stepMemory: memoryOf(name, text) }),
  'step-oom-score': (name, text) => ({ stepOomScore: countOf(name, text, 0, 1000) }),
  'step-pids': (name, text) => ({ stepPids: countOf(name, text, 0, 4_194_304) }),
  'step-runtime': (name, text) => ({ runtime: runtimeOf(name, text) }),
  'step-shm-size': (name, text) => ({ stepShmSize: memoryOf(name, text) }),
  'step-timeout': (name, text) => ({ stepTimeout: timeoutOf(name, text) }),
  'step-ulimit': (name, text) => ({ stepUlimits: ulimitsOf(name, text) }),
} as const satisfies Record<string, (name: string, text: string) => OperatorLimits>;

type LimitSetting = keyof typeof readers;

/**
 * Reads the limits. `textOf` returns a setting's text, `undefined` or `''` where it is not set, and `nameOf` the name
 * by which an error calls it. A limit that is not set is no member of the result. Throws `invalid`.
 */
export function operatorLimits(
  textOf: (setting: LimitSetting) => string | undefined,
  nameOf: (setting: LimitSetting) => string = (setting) => setting,
): OperatorLimits {
  const found: OperatorLimits = {};
  for (const [setting, read] of Object.entries(readers) as [LimitSetting, (typeof readers)[LimitSetting]][]) {
    const text = textOf(setting);
    if (text !== undefined && text !== '') Object.assign(found, read(nameOf(setting), text));
  }
  return found;
}

/**
 * Reads the limits from the environment: `DRYDOCK_STEP_PIDS` and so on, and BuildKit's own `BUILDKIT_STEP_LOG_MAX_SIZE`
 * and `BUILDKIT_STEP_LOG_MAX_SPEED`. Throws `invalid`.
 */
export function stepLimitsFromEnv(env: NodeJS.ProcessEnv): OperatorLimits {
  const nameOf = (setting: LimitSetting) => {
    const name = setting.toUpperCase().replaceAll('-', '_');
    const theirs = `BUILDKIT_${name}`;
    return name.startsWith('STEP_LOG_') && !env[`DRYDOCK_${name}`] && env[theirs]
      ? theirs
      : `DRYDOCK_${name}`;
  };
  return operatorLimits((setting) => env[nameOf(setting)], nameOf);
}

function runtimeOf(name: string, text: string): string {
  if (/^(\/.+|[^\s/-][^\s/]*)$/.test(text)) return text;
  throw fail(
    'invalid',
    'client',
    `invalid ${name} ${JSON.stringify(text)}: want a program's name or its whole path`,
  );
}

function countOf(name: string, text: string, least: number, most: number): number {
  if (/^\d{1,7}$/.test(text) && Number(text) >= least && Number(text) <= most) return Number(text);
  throw bad(name, text, `a number from ${least} to ${most}`);
}

function cpusOf(name: string, text: string): number {
  const cpus = /^\d{1,4}(\.\d{1,3})?$/.test(text) ? Number(text) : 0;
  if (cpus < 0.01) throw bad(name, text, 'a number of processors such as 1.5, at least 0.01');
  return cpus;
}

function memoryOf(name: string, text: string): number {
  const bytes = ramInBytes(text) ?? 0;
  if (bytes <= 0) throw bad(name, text, 'a size such as 2g');
  return bytes;
}

/** Bytes; -1 is no limit, as with BuildKit. */
function logLimitOf(name: string, text: string): number {
  if (text === '-1') return Number.POSITIVE_INFINITY;
  const bytes = ramInBytes(text) ?? -1;
  if (bytes < 0) throw bad(name, text, 'bytes, a size such as 10m, or -1 for no limit');
  return bytes;
}

function timeoutOf(name: string, text: string): number {
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : (durationMs(text) ?? 0);
  // The longest time that a timer takes is 24.8 days.
  if (ms < 1 || ms > 2 ** 31 - 1)
    throw bad(name, text, 'seconds, or a time such as 90s or 1h30m, of 24 days at most');
  return ms;
}

function ulimitsOf(name: string, text: string): Ulimit[] {
  return text.split(',').map((each) => {
    try {
      return parseUlimit(each.trim());
    } catch (err) {
      throw prefixed(err, name);
    }
  });
}

function bad(name: string, text: string, want: string): Error {
  return fail('invalid', 'client', `invalid ${name} ${JSON.stringify(text)}: want ${want}`);
}
