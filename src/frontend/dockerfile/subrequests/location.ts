import type { SourceRange } from '../../../errors/index.ts';

/** A place as the JSON of answers has it: LLB's `pb.Location`, without zeros, as Go leaves them out. */
export interface JsonLocation {
  sourceIndex?: number;
  ranges: { start: JsonPosition; end: JsonPosition }[];
}

interface JsonPosition {
  line?: number;
  character?: number;
}

/** The ranges of a source file, in the form of answers. */
export function jsonLocation(ranges: readonly SourceRange[]): JsonLocation {
  return { ranges: ranges.map(({ start, end }) => ({ start: position(start), end: position(end) })) };
}

function position({ line, character }: SourceRange['start']): JsonPosition {
  return { ...(line === 0 ? {} : { line }), ...(character === 0 ? {} : { character }) };
}
