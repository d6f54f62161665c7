/** Bills of materials: which packages a tree has, as SPDX or CycloneDX. The work is done by the task `sbom.scan`. */
export { fileName, sbomTypes } from './names.ts';
export type { SbomFormat } from './types.ts';
