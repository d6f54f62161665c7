/** What the checks of a Dockerfile found, and where it is. Pure. */
import { relative, resolve, sep } from 'node:path';
import type { DrydockError, SourceLocation } from '../../errors/index.ts';
import type { LintWarning } from '../../frontend/index.ts';

/** What the checks found. */
export interface CheckOutcome {
  /** The bake target, where several are checked. */
  name?: string;
  warnings: readonly LintWarning[];
  /** What keeps the Dockerfile from being built; it has a place in it. */
  failure?: DrydockError;
  /** The folder in which the command was called. */
  cwd: string;
  /** The Dockerfile on this machine; undefined: it comes from elsewhere. */
  path?: string;
}

/** The name of what keeps a Dockerfile from being built, beside the names of rules. */
export const failureRule = 'DockerfileError';

/** The first and the last line; 0 where a finding is about none. */
export function linesOf({ ranges }: SourceLocation): { first: number; last: number } {
  if (ranges.length === 0) return { first: 0, last: 0 };
  const first = Math.min(...ranges.map(({ start }) => start.line));
  return { first, last: Math.max(first, ...ranges.map(({ end }) => end.line)) };
}

/** The path of the Dockerfile from the folder of the call on, or the whole of it for one that is elsewhere. */
export function shownPath({ filename }: SourceLocation, { path, cwd }: CheckOutcome): string {
  if (path === undefined) return filename;
  const whole = resolve(cwd, path);
  const inside = relative(cwd, whole);
  return inside === '..' || inside.startsWith(`..${sep}`) ? whole : inside;
}
