import type { FoundPackage, SbomFormat } from './types.ts';

/** The name of the bill of a tree, as scanners of BuildKit's protocol name theirs: `sbom.spdx.json`. */
export function fileName(tree: string, format: SbomFormat): string {
  return `${tree}.${format === 'spdx' ? 'spdx' : 'cdx'}.json`;
}

/** The types of the predicates that bills are. */
export const sbomTypes: Readonly<Record<SbomFormat, string>> = {
  spdx: 'https://spdx.dev/Document',
  cyclonedx: 'https://cyclonedx.org/bom',
};

/**
 * The group that is a part of a package's name (`@babel`, `org.slf4j`); undefined for a package without one. Packages of
 * an operating system have its name there in their URLs alone.
 */
export function groupOf({ kind, namespace }: Pick<FoundPackage, 'kind' | 'namespace'>): string | undefined {
  return kind === 'deb' || kind === 'apk' || kind === 'rpm' ? undefined : namespace;
}
