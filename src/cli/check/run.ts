/** `drydock build --check`: the findings, in the form that is asked for, and what is safe to mend of them mended. */
import { join } from 'node:path';
import { warningEvent } from '../../engine/index.ts';
import { DrydockError, fail } from '../../errors/index.ts';
import type { LintWarning } from '../../frontend/index.ts';
import { isRemoteUrl } from '../../words/index.ts';
import type { BuildFlags } from '../build/prepare.ts';
import type { CommandContext } from '../command.ts';
import { fixFile } from './fix-file.ts';
import { type CheckOutcome, checkForm, reportOf } from './report.ts';

/** Throws `invalid` for flags of a check that do not fit the others. */
export function refuseCheckFlags(flags: BuildFlags, context: string): void {
  const { check, fix, file, 'check-format': form } = flags;
  checkForm(form);
  if (!check && (fix || form !== undefined)) {
    throw fail('invalid', 'client', `${fix ? '--fix' : '--check-format'} goes with --check`);
  }
  if (fix && localDockerfile(file, context, '') === undefined) {
    throw fail('invalid', 'client', '--fix writes a Dockerfile of this machine: not one of stdin or a URL', {
      hint: 'Leave out --fix, or name the file with -f.',
    });
  }
}

/** The path of the Dockerfile that was named, or is `name` in the context; undefined: it comes from elsewhere. */
function localDockerfile(file: string | undefined, context: string, name: string): string | undefined {
  const isElsewhere = context === '-' || isRemoteUrl(context);
  if (file === '-' || (file !== undefined && isRemoteUrl(file))) return undefined;
  if (file !== undefined && !isElsewhere) return file;
  return isElsewhere ? undefined : join(context, name);
}

/**
 * Checks, prints the report and returns the exit code. `find` runs the checks once; it is called again after each
 * round of mending, as one mend leads to another. Of a Dockerfile that cannot be built it rejects, with the place in it,
 * and calls `tell` with the findings before that.
 */
export async function runCheck(
  flags: BuildFlags,
  context: string,
  { stdout, stderr }: Pick<CommandContext, 'stdout' | 'stderr'>,
  find: (tell: (warning: LintWarning) => void) => Promise<LintWarning[]>,
): Promise<number> {
  const form = checkForm(flags['check-format']);
  let outcome = await checked(find, form !== 'text');
  const pathOf = ({ warnings, failure }: Pick<CheckOutcome, 'warnings' | 'failure'>) => {
    const location = warnings[0]?.location ?? failure?.source;
    return localDockerfile(flags.file, context, location?.filename ?? 'Dockerfile');
  };
  if (flags.fix) {
    const fixed: LintWarning[] = [];
    for (let path = pathOf(outcome); path !== undefined; path = pathOf(outcome)) {
      const mended = await fixFile(path, outcome.warnings);
      if (mended.length === 0) break;
      if (fixed.length === 0) stderr.write(`Mended in ${path}:\n`);
      for (const each of mended) stderr.write(` - ${warningEvent(each).short}\n`);
      fixed.push(...mended);
      outcome = await checked(find, form !== 'text');
    }
    if (fixed.length === 0 && outcome.warnings.length > 0) {
      stderr.write('Nothing could be mended without knowing what is meant.\n');
    }
  }
  stdout.write(reportOf(form, { ...outcome, path: pathOf(outcome), cwd: process.cwd() }));
  return outcome.warnings.length > 0 || outcome.failure !== undefined ? 1 : 0;
}

/** The outcome of the checks. With `keeps` a mistake of the Dockerfile is part of it; it is thrown otherwise. */
async function checked(
  find: (tell: (warning: LintWarning) => void) => Promise<LintWarning[]>,
  keeps: boolean,
): Promise<Pick<CheckOutcome, 'warnings' | 'failure'>> {
  const told: LintWarning[] = [];
  try {
    return { warnings: await find((warning) => told.push(warning)) };
  } catch (failure) {
    if (!keeps || !(failure instanceof DrydockError) || failure.source === undefined) throw failure;
    return { warnings: told, failure };
  }
}
