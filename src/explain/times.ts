/** How long a step and all that comes after it will take, in words. Pure. */

/** Where neither a step nor what comes after it takes so long, in ms, nothing is told of it. */
const shortest = 5000;

/** The times of a step that is about to run, in ms. */
export interface ExpectedTimes {
  /** How long the step took before. */
  took: number;
  /** How long it takes from its beginning until the last step that waits for it has ended. */
  toEnd: number;
}

/** What `timesText` adds to a line. */
const pattern = /; took ([\d.]+) s before(?:, ([\d.]+) s to the end of the build)?$/;

/** `; took 12.3 s before, 40.0 s to the end of the build`; '' for times that are short. */
export function timesText({ took, toEnd }: ExpectedTimes): string {
  if (toEnd < shortest) return '';
  const rest = toEnd > took ? `, ${(toEnd / 1000).toFixed(1)} s to the end of the build` : '';
  return `; took ${(took / 1000).toFixed(1)} s before${rest}`;
}

/** The times in a line, and the line without them. */
export function readTimes(line: string): { text: string; times: ExpectedTimes | undefined } {
  const found = pattern.exec(line);
  if (found === null) return { text: line, times: undefined };
  const took = Number(found[1]) * 1000;
  return { text: line.slice(0, found.index), times: { took, toEnd: Number(found[2] ?? 0) * 1000 || took } };
}
