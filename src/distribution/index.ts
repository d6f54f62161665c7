/** Images and blobs between a store and a registry: finds, fetches, reads and remembers them. */
export { type AttestationChain, attestationChain } from './attestation-chain.ts';
export {
  aboutOf,
  attestationEntries,
  blobsOf,
  checkSubject,
  type StoredAttestation,
  storedAttestations,
} from './attestations.ts';
export {
  type DocumentOrigin,
  isImageEntry,
  layersOf,
  parseIndex,
  parseManifest,
  platformList,
  readConfig,
} from './documents.ts';
export { type FetchContext, fetchBlobInto } from './fetch.ts';
export type { ImageTrust } from './image-trust.ts';
export { isFrom, isPublished, noteOrigin, referenceOf, repositoriesOf } from './known-names.ts';
export { originLabels, originOf } from './origin.ts';
export {
  type DocumentSource,
  type ImageDocuments,
  type ResolvedDocuments,
  readDocuments,
  registryDocuments,
  resolveImage,
  resolveTarget,
  storeDocuments,
} from './resolve.ts';
export {
  danglingName,
  type FoundImage,
  findImage,
  findImageFor,
  imageFor,
  isDangling,
  isHere,
  recordsByTarget,
  type StoredImage,
  storedImage,
  storedImages,
  withLease,
} from './stored.ts';
export { takeBlob } from './take-blob.ts';
