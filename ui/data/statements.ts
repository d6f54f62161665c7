/** What attestations say, read from SPDX, CycloneDX and SLSA provenance. Pure; a field may be anything. */

export interface Package {
  name: string;
  version: string;
  /** The kind of its package URL: `deb`, `npm`; '' when it has none. */
  kind: string;
  licence: string;
}

type Fields = Record<string, unknown>;

const fieldsOf = (value: unknown): Fields =>
  typeof value === 'object' && value !== null ? (value as Fields) : {};
const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/** The predicate of an in-toto statement, or the document itself. */
function predicateOf(document: unknown): Fields {
  const fields = fieldsOf(document);
  return 'predicate' in fields ? fieldsOf(fields.predicate) : fields;
}

/** The packages of a bill of materials, by name; undefined for another statement. */
export function packagesOf(document: unknown): Package[] | undefined {
  const predicate = predicateOf(document);
  if (Array.isArray(predicate.packages)) return sorted(predicate.packages.map(ofSpdx));
  if (Array.isArray(predicate.components)) return sorted(predicate.components.map(ofCycloneDx));
  return undefined;
}

function sorted(packages: Package[]): Package[] {
  return packages.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

function ofSpdx(value: unknown): Package {
  const { name, versionInfo, externalRefs, licenseConcluded, licenseDeclared } = fieldsOf(value);
  const url = listOf(externalRefs)
    .map((each) => textOf(fieldsOf(each).referenceLocator))
    .find((text) => text.startsWith('pkg:'));
  const licence = [licenseConcluded, licenseDeclared]
    .map(textOf)
    .find((text) => text !== '' && text !== 'NOASSERTION');
  return { name: textOf(name), version: textOf(versionInfo), kind: kindOf(url), licence: licence ?? '' };
}

function ofCycloneDx(value: unknown): Package {
  const { name, version, purl, licenses } = fieldsOf(value);
  const licence = listOf(licenses).map((each) => {
    const { expression, license } = fieldsOf(each);
    const { id, name } = fieldsOf(license);
    return textOf(expression) || textOf(id) || textOf(name);
  });
  return {
    name: textOf(name),
    version: textOf(version),
    kind: kindOf(textOf(purl)),
    licence: licence.join(', '),
  };
}

function kindOf(url: string | undefined): string {
  return /^pkg:([^/]+)\//.exec(url ?? '')?.[1] ?? '';
}

/** The materials of a provenance: of SLSA v0.2, or v1's dependencies. */
export function materialsOf(document: unknown): { uri: string; digest: string }[] {
  const predicate = predicateOf(document);
  const { resolvedDependencies } = fieldsOf(predicate.buildDefinition);
  return [...listOf(predicate.materials), ...listOf(resolvedDependencies)].map((each) => {
    const { uri, digest } = fieldsOf(each);
    const [[name, value] = ['', '']] = Object.entries(fieldsOf(digest));
    return { uri: textOf(uri), digest: name === '' ? '' : `${name}:${textOf(value)}` };
  });
}
