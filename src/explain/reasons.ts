/** Why a step was not cached, as values; `words.ts` puts them into words. Pure. */
import type { TreeChanges } from '../fs/index.ts';
import type { Digest } from '../oci/index.ts';
import type { InputFacts, StepFacts, Variable } from './facts.ts';
import { placeOf } from './place.ts';

export type Reason =
  | { kind: 'ignored' }
  | { kind: 'pruned'; at: number; rule: string }
  | { kind: 'instruction'; before: string; now: string }
  | { kind: 'setting'; name: string; before?: string; now?: string }
  | { kind: 'variable'; name: string; before?: Variable; now?: Variable }
  | { kind: 'base'; before: InputFacts; now: InputFacts }
  | ({ kind: 'step' } & ChangedStep)
  | { kind: 'files'; input: number; from: InputFacts; before: Digest; now: Digest; tree?: TreeChanges }
  | { kind: 'never' }
  | { kind: 'import'; name: string; how: 'unread' | 'no-result' | 'gone' }
  | { kind: 'unknown' };

/** The step that makes an input another one. */
export interface ChangedStep {
  name: string;
  /**
   * Why it does: it is another step itself, or new; its cache was ignored; it ran again for another reason (its record
   * was pruned); or it is not known why.
   */
  how: 'changed' | 'ignored' | 'anew' | 'unknown';
}

/** What a step that ran for these reasons is to the steps above it. */
export function howItChanged([first]: readonly Reason[]): ChangedStep['how'] {
  switch (first?.kind) {
    case 'ignored':
      return 'ignored';
    case 'pruned':
    case 'import':
      return 'anew';
    case 'unknown':
    case undefined:
      return 'unknown';
    default:
      return 'changed';
  }
}

/**
 * What differs between a step and an earlier run of it. Empty: nothing that can be told. `changed`: by input, the step
 * below that made it another one.
 */
export function differences(
  before: StepFacts,
  now: StepFacts,
  changed: readonly (ChangedStep | undefined)[],
): Reason[] {
  const found: Reason[] = [];
  const [was, is] = [placeOf(before.name).text, placeOf(now.name).text];
  if (before.op !== now.op) {
    if (was !== is) found.push({ kind: 'instruction', before: was, now: is });
    else found.push(...settingsThatDiffer(before, now));
    found.push(...variablesThatDiffer(before, now));
  }
  if (before.inputs.length !== now.inputs.length) return found;
  const earlier = new Map<string, Reason>();
  for (const [i, input] of now.inputs.entries()) {
    const old = before.inputs[i] as InputFacts;
    if (input.content !== undefined && old.content !== undefined) {
      if (input.content === old.content) continue;
      found.push({ kind: 'files', input: i, from: input, before: old.content, now: input.content });
    } else if (input.id !== old.id) {
      if (input.image !== undefined && old.image !== undefined)
        found.push({ kind: 'base', before: old, now: input });
      else {
        const step = changed[i] ?? { name: input.name, how: 'unknown' as const };
        earlier.set(step.name, { kind: 'step', ...step });
      }
    }
  }
  return [...found, ...earlier.values()];
}

function settingsThatDiffer(before: StepFacts, now: StepFacts): Reason[] {
  const names = new Set([...Object.keys(before.settings), ...Object.keys(now.settings)]);
  return [...names].flatMap((name): Reason[] => {
    const [was, is] = [before.settings[name], now.settings[name]];
    return was === is ? [] : [{ kind: 'setting', name, before: was, now: is }];
  });
}

function variablesThatDiffer(before: StepFacts, now: StepFacts): Reason[] {
  const names = new Set([...Object.keys(before.variables), ...Object.keys(now.variables)]);
  return [...names].flatMap((name): Reason[] => {
    const [was, is] = [before.variables[name], now.variables[name]];
    return was?.print === is?.print ? [] : [{ kind: 'variable', name, before: was, now: is }];
  });
}

/** How far two runs are apart: less is nearer. Files count less than all else, so that the latest like run is found. */
export function distance(reasons: readonly Reason[]): number {
  return reasons.reduce((sum, reason) => {
    if (reason.kind === 'instruction') return sum + 100;
    if (reason.kind !== 'files') return sum + 1;
    const files = reason.tree?.count ?? 1000;
    return sum + 0.5 + Math.min(files, 1e6) / 2e6;
  }, 0);
}
