import { statfsSync } from 'node:fs';
import { join } from 'node:path';
import { type DrydockError, fail } from '../errors/index.ts';
import { inUserNamespace, readText } from '../linux/index.ts';
import { ramText } from '../words/index.ts';
import type { Shortage } from './shortage.ts';
import type { ExecSpec } from './types.ts';

/** What runc and crun say of a program that is not there. */
const missing = [
  /executable file not found|exec.*no such file or directory|stat .*no such file/,
  /^(executable file `.*` not found|exec container process .*No such file)/,
];
/** What they say of one that cannot be run. */
const unusable = [
  /exec.*(permission denied|is a directory|exec format error)/,
  /^(the path `.*` (is not a regular file|exists but it is not executable)|exec container process .*(Permission denied|Exec format error))/,
];

/** What they say when they cannot write. runc loses the reason of its own state's failure; a full disk is the usual one. */
const unwritten = /no space left on device|disk quota exceeded|unable to store init state/i;

interface Failed {
  /** The limits that the process was to have. */
  asked: Pick<ExecSpec, 'ulimits' | 'resources'>;
  shortage?: Shortage;
  /** The runtime's log in the bundle. */
  log?: string;
}

/**
 * The exit code of a step that failed: its own, or the shell's code for a program that is not there (127) or cannot be
 * run (126). Throws an error of the runtime itself, and `invalid` where the step's own limits kept it from starting.
 */
export function failureOf(bundle: string, exitCode: number, failed: Failed): number {
  const log = join(bundle, failed.log ?? 'runtime.log');
  const error = runtimeError(readText(log));
  if (error === undefined) return exitCode;
  // A program's name, which stands in the middle, may be of any length.
  const said = error.length > 4096 ? `${error.slice(0, 2048)}…${error.slice(-2048)}` : error;
  if (missing.some((pattern) => pattern.test(said))) return 127;
  if (unusable.some((pattern) => pattern.test(said))) return 126;
  const tooLow = tooLowLimit(said, failed);
  if (tooLow !== undefined) throw tooLowError(tooLow, new Error(error));
  if (unwritten.test(error) || isDiskFull(bundle)) {
    throw fail('exhausted', 'exec', `no space left for what the container's runtime writes down: ${error}`);
  }
  throw fail('internal', 'exec', `the container's runtime: ${error}`, {
    hint: '`drydock doctor` says what this machine lacks.',
  });
}

/** Whether the disk of a folder has no room for even a small file. Other steps may give some back at any time. */
function isDiskFull(folder: string): boolean {
  const { bavail, bsize, files, ffree } = statfsSync(folder);
  return bavail * bsize < 64 << 10 || (files > 0 && ffree === 0);
}

/**
 * Whether this machine's /proc has parts hidden. The kernel lets nobody in a user namespace mount another one then, which
 * would show them.
 */
export function isProcGuarded(mountinfo = readText('/proc/self/mountinfo')): boolean {
  return mountinfo.split('\n').some((line) => {
    const point = line.split(' ')[4] ?? '';
    return point.startsWith('/proc/') && !point.startsWith('/proc/sys/fs/binfmt_misc');
  });
}

/** What is to be done where steps can have no /proc of their own. */
export const withoutProcHint =
  'Start the container with --security-opt systempaths=unconfined; or leave steps among its processes: DRYDOCK_NO_PROCESS_SANDBOX=1, or --oci-worker-no-process-sandbox of buildkitd.';

/** The error of a runtime that has neither started a process nor said why. `asked`: the limits that it was within. */
export function noContainer(command: string, code: number, asked: Failed['asked']): DrydockError {
  const small = smallUlimit(asked);
  if (small !== undefined) return tooLowError(small);
  if (inUserNamespace() && isProcGuarded()) {
    return fail(
      'unsupported',
      'exec',
      'a step can have no /proc of its own: parts of this container’s are hidden',
      {
        hint: withoutProcHint,
      },
    );
  }
  return fail('unavailable', 'exec', `${command} could not start the container: it ended with ${code}`, {
    hint: '`drydock doctor` says what this machine lacks.',
  });
}

/** The limit of the step that the runtime itself could not live with, if its error comes from one. */
function tooLowLimit(said: string, { asked, shortage }: Failed): string | undefined {
  const { memory } = asked.resources ?? {};
  if (memory !== undefined && (shortage !== undefined || /memory limit|memory\.max|OOM-killed/.test(said))) {
    return `the memory limit of ${ramText(memory)}`;
  }
  const names = limitsOf.find(([pattern]) => pattern.test(said))?.[1] ?? [];
  const limit = asked.ulimits.find(({ name }) => names.includes(name));
  return limit === undefined ? smallUlimit(asked) : ulimitText(limit);
}

/** A ulimit with which no runtime gets far, whatever it says then. */
function smallUlimit({ ulimits }: Failed['asked']): string | undefined {
  const small = ulimits.find(({ name, soft }) => soft >= 0 && soft < (needs[name] ?? 0));
  return small && ulimitText(small);
}

/** About what runtimes need: files that are open at once, bytes of a file that they write. */
const needs: Partial<Record<string, number>> = { nofile: 32, fsize: 64 << 10 };

function ulimitText({ name, soft, hard }: ExecSpec['ulimits'][number]): string {
  return `the ulimit ${name}=${soft}:${hard}`;
}

function tooLowError(limit: string, cause?: Error): DrydockError {
  return fail('invalid', 'exec', `${limit} is too low for a container to start`, {
    cause,
    hint: 'Raise it: the runtime that starts the process is within it, too.',
  });
}

/** What the runtime says when a ulimit is too low for it. */
const limitsOf: [RegExp, string[]][] = [
  [/too many open files/i, ['nofile']],
  [/cannot allocate memory|out of memory/i, ['data', 'rss', 'memlock', 'stack']],
  [/resource temporarily unavailable|try again/i, ['nproc']],
  [/file too large/i, ['fsize']],
];

/** The last error in a runtime's log, JSON objects one after the other; undefined when there is none. */
export function runtimeError(log: string): string | undefined {
  // runc writes an object on a line, newer versions of crun write one on several.
  for (const text of log.split(/(?<=\})\n/).reverse()) {
    if (text.trim() === '') continue;
    try {
      const entry = JSON.parse(text) as { level?: string; msg?: string };
      if (entry.level === 'error' || entry.level === 'fatal') return entry.msg;
    } catch {
      // Not the runtime's.
    }
  }
  return undefined;
}
