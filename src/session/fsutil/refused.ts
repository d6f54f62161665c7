/** Refuses what a peer may not send. */
import { type DrydockError, fail } from '../../errors/index.ts';

/** Throws `invalid` (hop `session`) for a path that is not relative and clean, or leads out of its folder. */
export function checkPath(path: string): void {
  if (path === '') throw refused('it sent a file without a path');
  if (path.startsWith('/')) throw refused(`${quote(path)} is an absolute path`);
  if (path.includes('\0')) throw refused(`${quote(path)} has a NUL in it`);
  for (const part of path.split('/')) {
    if (part === '..') throw refused(`${quote(path)} leads out of the folder`);
    if (part === '' || part === '.') throw refused(`${quote(path)} is not a clean path`);
  }
}

/** A path in words for the user. */
export function quote(path: string): string {
  return JSON.stringify(path.length > 300 ? `${path.slice(0, 300)}…` : path);
}

/** The error `invalid` (hop `session`) for a peer whose files are refused. */
export function refused(why: string): DrydockError {
  return fail('invalid', 'session', `the peer's files were refused: ${why}`);
}
