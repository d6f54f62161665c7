import type { SbomFormat } from './types.ts';

/** The name of the bill of a tree, as scanners of BuildKit's protocol name theirs: `sbom.spdx.json`. */
export function fileName(tree: string, format: SbomFormat): string {
  return `${tree}.${format === 'spdx' ? 'spdx' : 'cdx'}.json`;
}

/** The types of the predicates that bills are. */
export const sbomTypes: Readonly<Record<SbomFormat, string>> = {
  spdx: 'https://spdx.dev/Document',
  cyclonedx: 'https://cyclonedx.org/bom',
};
