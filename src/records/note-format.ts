/**
 * The note of a build that ran without a daemon: a file of JSON lines under the root, which is taken into the history
 * when somebody asks for builds. A command writes it without the libraries that the history needs. The lines are a
 * `NoteHead`, any number of `NoteOutput`s and `NoteProgress`es, and a `NoteEnd`. Secrets are nowhere in it. The writer
 * holds an exclusive lock on the file: a note without its end and without a lock is of a build whose process was killed.
 */
import { join } from 'node:path';
import type { Descriptor } from '../oci/index.ts';
import type { StatusEvent, VertexEvent, WarningEvent } from '../progress/index.ts';
import type { BuildDetails } from './details.ts';

/** The form that this program writes, and the only one that it reads. */
export const noteVersion = 1;

/** The most bytes of a line. A build whose last line would be longer leaves no note. */
export const longestLine = 64 << 20;

/** The first line: what was asked for. Times are in ms since the epoch. */
export interface NoteHead {
  version: number;
  owner: string;
  ref: string;
  at: number;
  frontend: string;
  options: Readonly<Record<string, string>>;
  outputs: readonly { type: string; attrs: Readonly<Record<string, string>> }[];
}

/** A piece of a step's output; the data is in base64. */
export type NoteOutput = readonly [vertex: string, stream: 1 | 2, at: number, data: string];

/** What has changed since the last such line, of a build that takes longer. */
export interface NoteProgress {
  vertices: readonly VertexEvent[];
  statuses: readonly StatusEvent[];
  warnings: readonly WarningEvent[];
}

/** The last line: what became of it, and all of its progress. */
export interface NoteEnd extends NoteProgress {
  at: number;
  details: BuildDetails;
  /** Of a build that failed: a google.rpc.Status in base64. */
  error?: string;
  response?: Readonly<Record<string, string>>;
  results?: readonly (readonly [index: number, Descriptor])[];
  /** In base64. */
  documents?: readonly string[];
  predicates?: readonly (readonly [name: string, type: string, predicate: unknown])[];
}

/** The folder of the notes under a root. */
export function notesFolder(root: string): string {
  return join(root, 'notes');
}

/** The name of a note. Names are in the order in which the builds ended. */
export function noteName(at: number, ref: string): string {
  return `${String(Math.floor(at)).padStart(15, '0')}-${ref}`;
}

/** Whether a file of the folder is a whole note. */
export function isNote(name: string): boolean {
  return /^\d{15}-/.test(name);
}

/** The reference of a whole note's build. */
export function noteReference(name: string): string {
  return name.slice(name.indexOf('-') + 1);
}

/** The name of a note that a process is writing. */
export function unfinishedName(pid: number, ref: string): string {
  return `.${pid}-${ref}`;
}

/** The process that writes a file of the folder; undefined for a file that is whole, or another's. */
export function writerOf(name: string): number | undefined {
  const match = /^\.(\d+)-/.exec(name);
  return match === null ? undefined : Number(match[1]);
}
