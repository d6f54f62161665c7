/** A Dockerfile's instructions as docker's own builder of old numbers them: `Step 2/5 : RUN make`. Pure. */
import type { Base, Dockerfile, Stage } from '../../../frontend/dockerfile/ast.ts';
import type { Vertex } from '../../../llb/vertex.ts';

export interface Step {
  /** The instruction as written, on one line. */
  text: string;
  line: number;
  isRun: boolean;
  /** What is built for it; empty for instructions that only change the image's config. */
  vertices: Vertex[];
}

/** The steps of all stages that a build needs: global ARGs first, then each stage in the order written. */
export function stepsOf(file: Dockerfile, target: string | undefined, vertices: readonly Vertex[]): Step[] {
  const byLine = new Map<number, Vertex[]>();
  for (const vertex of vertices) {
    const line = vertex.source?.filename === file.filename ? vertex.source.ranges[0]?.start.line : undefined;
    if (line === undefined) continue;
    const same = byLine.get(line);
    if (same === undefined) byLine.set(line, [vertex]);
    else same.push(vertex);
  }
  const step = (at: Base): Step => {
    const line = at.range.start.line;
    return { text: at.original, line, isRun: /^run$/i.test(at.keyword), vertices: byLine.get(line) ?? [] };
  };
  const stages = neededStages(file, target, byLine);
  return [
    ...file.globalArgs.map(step),
    ...stages.flatMap((stage) => [step(stage.from), ...stage.instructions.map(step)]),
  ];
}

/** The target stage, those it is built on by name, and all that something is built in. */
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
  const needed = new Set<Stage>(last === undefined ? [] : [last]);
  for (const stage of needed) {
    const base = stages.slice(0, stages.indexOf(stage)).findLast(({ name }) => isName(name, stage.base));
    if (base !== undefined) needed.add(base);
  }
  return stages.filter(
    (stage) => needed.has(stage) || stage.instructions.some(({ range }) => byLine.has(range.start.line)),
  );
}

function isName(name: string, base: string): boolean {
  return name !== '' && name === base.toLowerCase();
}
