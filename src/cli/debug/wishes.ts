/** Reads `--on-error` and `--invoke`. Pure. */
import { resolve } from 'node:path';
import { fail } from '../../errors/index.ts';
import { splitCsv } from '../csv.ts';

/** How a build is to be looked into. */
export interface DebugWishes {
  /** A terminal in the step that failed. */
  shell: boolean;
  /** Files of the step that failed, and the folder that gets them. */
  exports: { dest: string; paths: string[] }[];
  /** What runs in the result, or in the failed step in the place of a shell; '' is a shell. Undefined: nothing. */
  invoke: string | undefined;
}

/** The wishes of the flags; undefined when there are none. Throws `invalid`. */
export function debugWishes(onError: readonly string[], invoke: string | undefined): DebugWishes | undefined {
  if (onError.length === 0 && invoke === undefined) return undefined;
  const wishes: DebugWishes = { shell: false, exports: [], invoke };
  for (const text of onError) {
    const [kind, ...fields] = splitCsv(text);
    if (kind === 'shell' && fields.length === 0) wishes.shell = true;
    else if (kind === 'export') wishes.exports.push(exportOf(text, fields));
    else throw invalid(text, 'want shell, or export,dest=FOLDER,src=PATH');
  }
  return wishes;
}

function exportOf(text: string, fields: readonly string[]): DebugWishes['exports'][number] {
  let dest = '';
  const paths: string[] = [];
  for (const field of fields) {
    const at = field.indexOf('=');
    const key = field.slice(0, Math.max(0, at));
    const value = field.slice(at + 1);
    if (key === 'dest' && dest === '') dest = value;
    else if ((key === 'src' || key === 'source') && value !== '') paths.push(value);
    else throw invalid(text, `unexpected ${JSON.stringify(field)}`);
  }
  if (dest === '') throw invalid(text, 'it needs dest=FOLDER');
  if (paths.length === 0)
    throw invalid(text, 'it needs src=PATH: a file or folder of the step, in its working folder or absolute');
  return { dest: resolve(dest), paths };
}

function invalid(text: string, why: string): Error {
  return fail('invalid', 'client', `invalid --on-error ${JSON.stringify(text)}: ${why}`, {
    hint: 'For example --on-error=shell, or --on-error=export,dest=reports,src=test/reports.',
  });
}
