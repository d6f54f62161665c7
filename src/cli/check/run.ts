/** `--check` of `drydock build` and `drydock bake`: the findings of Dockerfiles, and what is safe to mend of them mended. */
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { warningEvent } from '../../engine/index.ts';
import { DrydockError, fail } from '../../errors/index.ts';
import type { LintWarning } from '../../frontend/index.ts';
import { rawName } from '../../linux/index.ts';
import { isRemoteUrl } from '../../words/index.ts';
import type { BuildFlags } from '../build/prepare.ts';
import { fixFile } from './fix-file.ts';
import type { CheckOutcome } from './outcome.ts';
import { type CheckForm, checkForm } from './report.ts';

/** Throws `invalid` for flags of a check that do not fit the others. */
export function refuseCheckFlags(flags: BuildFlags, context: string): void {
  refuseWithoutCheck(flags);
  if (flags.fix && localDockerfile({ file: flags.file, context }, '') === undefined) {
    throw fail('invalid', 'client', '--fix writes a Dockerfile of this machine: not one of stdin or a URL', {
      hint: 'Leave out --fix, or name the file with -f.',
    });
  }
}

/** Throws `invalid` for a form that there is not, and for flags of a check without one. */
export function refuseWithoutCheck({
  check,
  fix,
  'check-format': form,
}: Pick<BuildFlags, 'check' | 'fix' | 'check-format'>): void {
  checkForm(form);
  if (!check && (fix || form !== undefined)) {
    throw fail('invalid', 'client', `${fix ? '--fix' : '--check-format'} goes with --check`);
  }
}

/** A Dockerfile that is checked. */
export interface Check {
  /** The bake target, where several are checked. */
  name?: string;
  /** The Dockerfile that was named, if any, and the context. */
  file: string | undefined;
  context: string;
  /**
   * Runs the checks once, and tells each finding before it resolves to all of them. Of a Dockerfile that cannot be built
   * it rejects, with the place in it.
   */
  find(tell: (warning: LintWarning) => void): Promise<LintWarning[]>;
}

/** The path of the Dockerfile that was named, or is `name` in the context; undefined: it comes from elsewhere. */
export function localDockerfile(
  { file, context }: Pick<Check, 'file' | 'context'>,
  name: string,
): string | undefined {
  const isElsewhere = context === '-' || isRemoteUrl(context);
  if (file === '-' || (file !== undefined && isRemoteUrl(file))) return undefined;
  if (file !== undefined && !isElsewhere) return file;
  return isElsewhere ? undefined : join(context, name);
}

/** The outcome of a check. In other forms than text a mistake of the Dockerfile is part of it; it is thrown otherwise. */
export async function outcomeOf(check: Check, form: CheckForm): Promise<CheckOutcome> {
  const told: LintWarning[] = [];
  const outcome = (warnings: readonly LintWarning[], failure?: DrydockError): CheckOutcome => {
    const location = warnings[0]?.location ?? failure?.source;
    const path = localDockerfile(check, location?.filename ?? 'Dockerfile');
    return { name: check.name, warnings, failure, path, cwd: process.cwd() };
  };
  try {
    return outcome(await check.find((warning) => told.push(warning)));
  } catch (failure) {
    if (form === 'text' || !(failure instanceof DrydockError) || failure.source === undefined) throw failure;
    return outcome(told, failure);
  }
}

/** A check with its outcome. */
export interface Checked {
  check: Check;
  outcome: CheckOutcome;
}

/**
 * Mends what can be mended, each Dockerfile once however many targets are of it, and tells of it. What was mended is
 * checked again, as one mend leads to another. Returns the outcomes that are left.
 */
export async function mendAll(
  checks: readonly Checked[],
  form: CheckForm,
  stderr: { write(text: string): unknown },
): Promise<Checked[]> {
  const left = [...checks];
  const told = new Set<string>();
  for (;;) {
    const byFile = new Map<string, number[]>();
    for (const [i, { outcome }] of left.entries()) {
      if (outcome.path === undefined || outcome.warnings.length === 0) continue;
      const file = await realpath(rawName(outcome.path)).catch(() => outcome.path as string);
      byFile.set(file, [...(byFile.get(file) ?? []), i]);
    }
    const again: number[] = [];
    for (const places of byFile.values()) {
      const outcomes = places.map((i) => (left[i] as Checked).outcome);
      const path = outcomes[0]?.path as string;
      const mended = await fixFile(path, distinct(outcomes.flatMap(({ warnings }) => warnings)));
      if (mended.length === 0) continue;
      if (!told.has(path)) stderr.write(`Mended in ${path}:\n`);
      told.add(path);
      for (const each of mended) stderr.write(` - ${warningEvent(each).short}\n`);
      again.push(...places);
    }
    if (again.length === 0) break;
    for (const i of again) {
      const { check } = left[i] as Checked;
      left[i] = { check, outcome: await outcomeOf(check, form) };
    }
  }
  if (told.size === 0 && left.some(({ outcome }) => outcome.warnings.length > 0)) {
    stderr.write('Nothing could be mended without knowing what is meant.\n');
  }
  return left;
}

/** Findings without those that are said twice. */
function distinct(findings: readonly LintWarning[]): LintWarning[] {
  const key = ({ rule, message, location: { ranges } }: LintWarning) =>
    JSON.stringify([rule, message, ranges]);
  return [...new Map(findings.map((finding) => [key(finding), finding])).values()];
}

/** Whether anything was found. */
export function isFaulty({ warnings, failure }: CheckOutcome): boolean {
  return warnings.length > 0 || failure !== undefined;
}
