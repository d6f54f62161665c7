/** What is remembered of a build: how it is heard of, and its note where no daemon has it. */
export { buildIdOf } from './build-id.ts';
export { type NoteHelp, noteBuild, showBuild } from './build-note.ts';
export { type BuildDetails, keptDetails, SourceFiles, type StepFacts, useOf } from './details.ts';
export { maskedJson, maskedPieces } from './masked.ts';
export {
  isNote,
  longestLine,
  type NoteEnd,
  type NoteHead,
  type NoteOutput,
  type NoteProgress,
  noteName,
  noteReference,
  notesFolder,
  noteVersion,
  writerOf,
} from './note-format.ts';
export { askedDefinition, askedDockerfile, type Kept, recorded } from './recorded.ts';
export type { AskedBuild, RecordBuild, RecordedBuild } from './recording.ts';
export { exporterResponse, imageSizeKey } from './response.ts';
