/** What follows from the steps of a build: their states, what each waited for, the critical path. Pure. */
import type { Step } from '../../src/api/ui/types.ts';
import { saysCanceled } from '../../src/progress/canceled.ts';

export type StepState = 'waiting' | 'running' | 'done' | 'cached' | 'failed' | 'canceled';

export function stateOf({ startedAt, completedAt, cached, error }: Step): StepState {
  if (error !== undefined && completedAt !== undefined) return saysCanceled(error) ? 'canceled' : 'failed';
  if (cached) return 'cached';
  if (completedAt !== undefined) return 'done';
  return startedAt === undefined ? 'waiting' : 'running';
}

export const stateWords: Record<StepState, string> = {
  waiting: 'waiting',
  running: 'running',
  done: 'done',
  cached: 'cached',
  failed: 'failed',
  canceled: 'canceled',
};

/** How long a step has run; undefined for one that has not begun. */
export function tookOf({ startedAt, completedAt }: Step, now: number): number | undefined {
  return startedAt === undefined ? undefined : (completedAt ?? now) - startedAt;
}

/**
 * The steps that the build's time went into: from the step that ended last, back to the input that it waited for
 * longest, and so on.
 */
export function criticalPath(steps: readonly Step[], now: number): Set<string> {
  const byDigest = new Map(steps.map((step) => [step.digest, step]));
  const endOf = (step: Step) => step.completedAt ?? (step.startedAt === undefined ? 0 : now);
  let at = steps
    .filter(({ startedAt }) => startedAt !== undefined)
    .reduce<Step | undefined>(
      (last, step) => (last === undefined || endOf(step) > endOf(last) ? step : last),
      undefined,
    );
  const path = new Set<string>();
  while (at !== undefined && !path.has(at.digest)) {
    path.add(at.digest);
    at = lastInput(at, byDigest) ?? lastBefore(at, steps);
  }
  return path;
}

/** Of a step without inputs, as an export: the step that ended last before it began. */
function lastBefore({ inputs, startedAt = 0 }: Step, steps: readonly Step[]): Step | undefined {
  if (inputs.length > 0) return undefined;
  return steps.reduce<Step | undefined>((last, step) => {
    const { completedAt } = step;
    if (completedAt === undefined || completedAt > startedAt) return last;
    return last?.completedAt === undefined || completedAt > last.completedAt ? step : last;
  }, undefined);
}

/** The input that was ready last. */
export function lastInput(step: Step, byDigest: ReadonlyMap<string, Step>): Step | undefined {
  let last: Step | undefined;
  for (const digest of step.inputs) {
    const input = byDigest.get(digest);
    if (input?.completedAt === undefined) continue;
    if (last?.completedAt === undefined || input.completedAt > last.completedAt) last = input;
  }
  return last;
}

/** The name without the place in front, and the place: `build 2/4`. */
export function splitName(name: string): { place: string; text: string } {
  const match = /^\[([^\]]*)\]\s*(.*)$/s.exec(name);
  return match === null ? { place: '', text: name } : { place: match[1] ?? '', text: match[2] ?? '' };
}

/** The step of another build that is this one: the same digest, else the same name, else the same place. */
export function partners(
  before: readonly Step[],
  after: readonly Step[],
): [Step | undefined, Step | undefined][] {
  const free = new Set(before);
  const found = new Map<Step, Step>();
  const keys: ((step: Step) => string)[] = [
    ({ digest }) => digest,
    ({ name }) => name,
    ({ name }) => {
      const { place, text } = splitName(name);
      return place === '' ? name : `${place} ${text.split(' ', 1)[0]}`;
    },
  ];
  for (const key of keys) {
    const open = new Map([...free].map((step) => [key(step), step]));
    for (const step of after) {
      if (found.has(step)) continue;
      const partner = open.get(key(step));
      if (partner === undefined || !free.delete(partner)) continue;
      found.set(step, partner);
    }
  }
  const pairs = after.map((step): [Step | undefined, Step | undefined] => [found.get(step), step]);
  return [...pairs, ...[...free].map((step): [Step, undefined] => [step, undefined])];
}
