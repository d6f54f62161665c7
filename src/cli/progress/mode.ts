import { fail, nearest } from '../../errors/index.ts';
import { type ProgressMode, progressModes } from './printer.ts';

/** The modes in which nothing is told to people. */
export const silentModes: ReadonlySet<ProgressMode> = new Set(['quiet', 'rawjson', 'none'] as const);

/** The form of progress that flags, or buildx's variable, ask for. Throws `invalid` for one that there is not. */
export function progressMode(flags: { quiet?: boolean; progress?: string }): ProgressMode {
  if (flags.quiet) return 'quiet';
  const wanted = flags.progress ?? process.env.BUILDKIT_PROGRESS ?? 'auto';
  const mode = progressModes.find((known) => known === wanted);
  if (mode !== undefined) return mode;
  const like = nearest(wanted, progressModes);
  throw fail('invalid', 'client', `invalid progress mode ${JSON.stringify(wanted)}`, {
    hint: like === undefined ? `Modes: ${progressModes.join(', ')}.` : `Did you mean ${like}?`,
  });
}
