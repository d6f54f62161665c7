/** The instructions of a Dockerfile as docker's old builder numbers them: `Step 2/5 : RUN make`. Pure. */
import { printable } from '../../../errors/index.ts';
import type { Base, Dockerfile, Stage } from '../../../frontend/index.ts';
import type { Vertex } from '../../../llb/index.ts';

export interface BuildStep {
  /** The instruction as written, on one line. */
  text: string;
  line: number;
  /**
   * `arg`: before the first FROM; `copy`: COPY and ADD; `run`: all instructions for which docker's builder ran a
   * container.
   */
  kind: 'arg' | 'from' | 'copy' | 'run';
  /** The number of its stage, among those that are built. */
  stage: number;
  /** How many ONBUILD triggers of the base a FROM runs. */
  triggers: number;
  /**
   * The vertices that are built for it, without sources; empty for instructions that only change the image's config.
   */
  vertices: Vertex[];
  /** All vertices that are solved for it. */
  all: Vertex[];
  /** The next step in its stage that something is built for. */
  above?: BuildStep;
}

/**
 * The steps of all stages that a build needs: global ARGs first, then each stage in the order written. `triggers` has,
 * by the line of a FROM, how many triggers its base has. The work is for `inTurns` or `atOnce`.
 *
 *     const steps = await inTurns(stepsOf(parsed, target, [...vertices.values()], file.triggers));
 */
export function* stepsOf(
  file: Dockerfile,
  target: string | undefined,
  vertices: readonly Vertex[],
  triggers: ReadonlyMap<number, number> = new Map(),
): Generator<void, BuildStep[]> {
  const byLine = new Map<number, Vertex[]>();
  for (const vertex of vertices) {
    const line = vertex.source?.filename === file.filename ? vertex.source.ranges[0]?.start.line : undefined;
    if (line === undefined) continue;
    const same = byLine.get(line);
    if (same === undefined) byLine.set(line, [vertex]);
    else same.push(vertex);
  }
  const step = (at: Base, stage: number): BuildStep => {
    const line = at.range.start.line;
    const all = byLine.get(line) ?? [];
    const kind = stage < 0 ? 'arg' : kinds[at.keyword.toLowerCase()];
    return {
      text: printable(at.original),
      line,
      kind: kind ?? 'run',
      stage,
      triggers: kind === 'from' ? (triggers.get(line) ?? 0) : 0,
      vertices: all.filter(({ op }) => op.op.case !== 'source'),
      all,
    };
  };
  const stages = neededStages(file, target, byLine);
  const steps = file.globalArgs.map((arg) => step(arg, -1));
  for (const [i, stage] of stages.entries()) {
    for (const each of [stage.from, ...stage.instructions]) {
      yield;
      steps.push(step(each, i));
    }
  }
  let above: BuildStep | undefined;
  for (const each of steps.toReversed()) {
    if (above !== undefined && above.stage === each.stage) each.above = above;
    if (each.vertices.length > 0) above = each;
  }
  return steps;
}

const kinds: Readonly<Record<string, BuildStep['kind']>> = { from: 'from', copy: 'copy', add: 'copy' };

/** The target stage, the stages that it is built on by name, and all stages in which something is built. */
function neededStages(
  file: Dockerfile,
  target: string | undefined,
  byLine: ReadonlyMap<number, unknown>,
): Stage[] {
  const { stages } = file;
  const wanted = target?.toLowerCase();
  const last =
    stages.findLast(({ name }) => wanted !== undefined && name === wanted) ??
    stages[/^\d+$/.test(wanted ?? '') ? Number(wanted) : stages.length - 1];
  const baseOf = new Map<Stage, Stage | undefined>();
  const byName = new Map<string, Stage>();
  for (const stage of stages) {
    baseOf.set(stage, byName.get(stage.base.toLowerCase()));
    if (stage.name !== '') byName.set(stage.name, stage);
  }
  const needed = new Set<Stage>(last === undefined ? [] : [last]);
  for (const stage of needed) {
    const base = baseOf.get(stage);
    if (base !== undefined) needed.add(base);
  }
  return stages.filter(
    (stage) => needed.has(stage) || stage.instructions.some(({ range }) => byLine.has(range.start.line)),
  );
}
