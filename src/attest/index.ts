/** Attestations of a build's results: provenances, in-toto statements, and the manifests that hold statements. Pure. */
export { digestSet } from './materials.ts';
export { formatProvenance, parseProvenance, provenanceAsked } from './options.ts';
export { provenance } from './provenance.ts';
export { imagePurl } from './purl.ts';
export {
  attestationEntry,
  attestationManifest,
  predicateTypeKey,
  statementBytes,
  statementMediaType,
} from './statement.ts';
export type { Attestation, BuildFacts, ProvenanceOptions } from './types.ts';
