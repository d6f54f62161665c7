/** Attestations of a build's results: provenances, in-toto statements, and the manifests that hold statements. Pure. */
export { digestSet } from './materials.ts';
export { attestationsAsked, formatProvenance, isDisabled, parseProvenance } from './options.ts';
export { provenance } from './provenance.ts';
export { imagePurl } from './purl.ts';
export { readPredicate } from './read-task.ts';
export { formatSbom, parseSbom, type SbomOptions } from './sbom-options.ts';
export {
  attestationEntry,
  attestationManifest,
  predicateTypeKey,
  type StatementBlob,
  statementBytes,
  statementMediaType,
  subjectsOf,
} from './statement.ts';
export type {
  AskedFacts,
  Attestation,
  BuildFacts,
  ProvenanceOptions,
  StatedImage,
  StatedSubject,
  Subject,
} from './types.ts';
