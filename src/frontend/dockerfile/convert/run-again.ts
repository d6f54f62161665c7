/** The steps that `--no-cache-filter` names one by one. */
import { clip, fail } from '../../../errors/index.ts';
import { fitsWildcards } from '../../../patterns/index.ts';
import type { Dockerfile, Instruction } from '../ast.ts';

const steps = new Set(['RUN', 'COPY', 'ADD']);

/**
 * The steps of a Dockerfile that a filter names by line or by text. An entry of digits is a line: the step that is
 * written there, or all steps of the stage whose FROM is. An entry with a space or a `*` in it, which no stage's name has,
 * is a step's text as written, in which `*` stands for any run of characters. Other entries are names of stages and not looked at here. Throws
 * `invalid` for a line or text that no step has.
 *
 *     stepsToRun(file, ['7', 'RUN npm ci*'])
 */
export function stepsToRun(file: Dockerfile, filter: readonly string[]): ReadonlySet<Instruction> {
  const found = new Set<Instruction>();
  for (const entry of filter) {
    const isLine = /^\d+$/.test(entry);
    if (!isLine && !/[ *]/.test(entry)) continue;
    const named = isLine ? stepsAt(file, Number(entry)) : stepsLike(file, entry);
    if (named.length === 0) {
      const what = isLine ? `on line ${entry}` : `like ${JSON.stringify(clip(entry, 80))}`;
      throw fail('invalid', 'dockerfile', `no-cache-filter: there is no RUN, COPY or ADD ${what}`, {
        hint: 'Give a line of the Dockerfile, a text as written there ("RUN make*"), or the name of a stage.',
      });
    }
    for (const step of named) found.add(step);
  }
  return found;
}

function stepsAt({ stages }: Dockerfile, line: number): Instruction[] {
  const isAt = ({ range: { start, end } }: Instruction | { range: Instruction['range'] }) =>
    start.line <= line && line <= end.line;
  const stage = stages.find(({ from }) => isAt(from));
  const within =
    stage === undefined ? stages.flatMap((each) => each.instructions.filter(isAt)) : stage.instructions;
  return within.filter(({ kind }) => steps.has(kind));
}

function stepsLike({ stages }: Dockerfile, pattern: string): Instruction[] {
  const all = stages.flatMap(({ instructions }) => instructions);
  return all.filter(({ kind, original }) => steps.has(kind) && fitsWildcards(pattern, original));
}
