/** What is kept of a build besides BuildKit's record of it: its Dockerfiles, and what its steps have used. Pure. */
import type { Masks, SourceLocation } from '../errors/index.ts';
import type { Digest } from '../oci/index.ts';
import { type StepUsage, usedSum } from '../progress/index.ts';

/** What is known of a build's steps besides its messages. */
export interface StepFacts {
  /** Where in Dockerfiles the steps stand. */
  places: ReadonlyMap<Digest, SourceLocation>;
  /** What they have used of the machine. */
  usage: ReadonlyMap<Digest, StepUsage>;
}

/** What a step's processes have used of the machine in all: ms and bytes. What the machine does not count is missing. */
interface StepUse {
  cpuMs?: number;
  memoryPeak?: number;
  readBytes?: number;
  writeBytes?: number;
}

/** Lines of one of a build's files: the file's place in the list, and the first and last lines of ranges, from 1. */
interface Place {
  file: number;
  lines: [from: number, to: number][];
}

interface SourceFile {
  name: string;
  text: string;
}

/** Files and steps of one build. */
export interface BuildDetails {
  files: SourceFile[];
  /** By vertex. */
  steps: Record<string, { place?: Place; use?: StepUse }>;
}

/** The largest file that is kept, in characters. */
const maxText = 1 << 20;

/** What a step has used, from its samples. */
export function useOf(usage: StepUsage): StepUse {
  const { cpu, memory, read, written } = usedSum(usage);
  return {
    ...(cpu !== undefined && { cpuMs: cpu / 1e6 }),
    ...(memory !== undefined && { memoryPeak: memory }),
    ...(read !== undefined && { readBytes: read }),
    ...(written !== undefined && { writeBytes: written }),
  };
}

/** Collects files and the places in them; equal files are one. */
export class SourceFiles {
  readonly files: SourceFile[] = [];
  readonly #known = new Map<string, number>();

  /** The place of a location; undefined for one without lines. */
  placeOf({ filename, text, ranges }: SourceLocation): Place | undefined {
    if (ranges.length === 0) return undefined;
    const key = `${filename}\0${text}`;
    let file = this.#known.get(key);
    if (file === undefined) {
      file = this.files.push({ name: filename, text: text.slice(0, maxText) }) - 1;
      this.#known.set(key, file);
    }
    return { file, lines: ranges.map(({ start, end }) => [start.line, end.line]) };
  }
}

/** The details as they are kept, without secrets. */
export function keptDetails({ places, usage }: StepFacts, masks: Masks): BuildDetails {
  const files = new SourceFiles();
  const steps: BuildDetails['steps'] = {};
  for (const [vertex, location] of places) steps[vertex] = { place: files.placeOf(location) };
  for (const [vertex, used] of usage) steps[vertex] = { ...steps[vertex], use: useOf(used) };
  return { files: files.files.map(({ name, text }) => ({ name, text: masks.text(text) })), steps };
}
