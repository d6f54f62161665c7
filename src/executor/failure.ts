/** Finds out, from the runtime's exit code and log, how a step ended. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fail } from '../errors/index.ts';

/**
 * The exit code of a step that failed: its own, or the shell's code for a program that is not there (127) or cannot be
 * run (126). Throws an error of the runtime itself.
 */
export function failureOf(bundle: string, exitCode: number, log = 'runc.log'): number {
  const error = runtimeError(readText(join(bundle, log)));
  if (error === undefined) return exitCode;
  // A program's name, which stands in the middle, may be of any length.
  const said = error.length > 4096 ? `${error.slice(0, 2048)}…${error.slice(-2048)}` : error;
  if (/executable file not found|exec.*no such file or directory|stat .*no such file/.test(said)) return 127;
  if (/exec.*(permission denied|is a directory|exec format error)/.test(said)) return 126;
  throw fail('internal', 'exec', `runc: ${error}`, {
    hint: '`drydock doctor` says what this machine lacks.',
  });
}

function runtimeError(log: string): string | undefined {
  for (const line of log.split('\n').reverse()) {
    if (line === '') continue;
    try {
      const entry = JSON.parse(line) as { level?: string; msg?: string };
      if (entry.level === 'error' || entry.level === 'fatal') return entry.msg;
    } catch {
      // Not a line of the runtime's.
    }
  }
  return undefined;
}

/** A file's text; '' when it is not there. */
export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
