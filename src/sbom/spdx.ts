/** Writes an inventory as SPDX 2.3 in JSON. https://spdx.github.io/spdx-spec/v2.3/ */
import { type DocumentFacts, listJson, membersJson, shortId, timeText, uuidOf } from './document.ts';
import type { Component, Inventory } from './inventory.ts';
import { licenseParts } from './licenses.ts';
import { groupOf } from './names.ts';

const none = 'NOASSERTION';
const rootId = 'SPDXRef-Root';

/** Yields the document in pieces. The tree is its subject, and contains the packages. */
export function* spdxJson(inventory: Inventory, facts: DocumentFacts): Generator<string, void> {
  const { components, files } = inventory;
  const uuid = uuidOf(inventory, facts);
  const texts = new Map<string, string>();
  for (const { license } of components) {
    for (const { text, known } of licenseParts(license)) if (!known) texts.set(licenseRef(text), text);
  }
  yield '{';
  yield membersJson({
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name: facts.name,
    documentNamespace: `https://spdx.org/spdxdocs/drydock-${encodeURIComponent(facts.name)}-${uuid}`,
    creationInfo: { created: timeText(facts.createdAt), creators: [`Tool: drydock-${facts.version}`] },
  });
  yield ',';
  yield* listJson('packages', [rootOf(inventory, facts)].concat(components.map(packageJson) as never[]));
  yield ',';
  yield* listJson(
    'files',
    files.map(({ path, sha1 }) => ({
      SPDXID: fileId(path),
      fileName: path,
      checksums: [{ algorithm: 'SHA1', checksumValue: sha1 }],
      licenseConcluded: none,
      copyrightText: none,
    })),
  );
  yield ',';
  if (texts.size > 0) {
    const list = [...texts].map(([licenseId, text]) => ({
      licenseId,
      extractedText: text,
      name: text.slice(0, 200),
    }));
    yield* listJson('hasExtractedLicensingInfos', list);
    yield ',';
  }
  yield* listJson('relationships', relationships(components));
  yield '}';
}

function rootOf({ distro }: Inventory, { name }: DocumentFacts): object {
  return {
    SPDXID: rootId,
    name,
    versionInfo: undefined,
    primaryPackagePurpose: 'CONTAINER',
    downloadLocation: none,
    filesAnalyzed: false,
    licenseConcluded: none,
    licenseDeclared: none,
    copyrightText: none,
    comment: distro.name === '' ? undefined : `operating system: ${distro.name}`,
  };
}

function packageJson(component: Component) {
  const { purl, name, kind, version, license, supplier, homepage, files } = component;
  const group = groupOf(component);
  const join = kind === 'maven' ? ':' : '/';
  const licenses = licenseParts(license).map(({ text, known }) => (known ? text : licenseRef(text)));
  return {
    SPDXID: packageId(purl),
    name: group === undefined ? name : `${group}${join}${name}`,
    versionInfo: version || undefined,
    supplier: supplier === undefined ? none : supplierText(supplier),
    downloadLocation: none,
    filesAnalyzed: false,
    homepage: homepage !== undefined && /^https?:\/\/\S+$/.test(homepage) ? homepage : undefined,
    sourceInfo: `found in ${files.slice(0, 20).join(', ')}${files.length > 20 ? ' …' : ''}`,
    licenseConcluded: none,
    licenseDeclared: licenses.length === 0 ? none : licenses.join(' AND '),
    copyrightText: none,
    externalRefs: [{ referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: purl }],
  };
}

/** `Person: Name (mail)` or `Organization: Name`. */
function supplierText(text: string): string {
  const [, name, mail] = /^(.*?)\s*<([^>]*)>/.exec(text) ?? [];
  const plain = (name ?? text).replaceAll(/[\r\n]+/g, ' ').trim();
  return mail === undefined ? `Organization: ${plain}` : `Person: ${plain} (${mail})`;
}

function* relationships(components: readonly Component[]): Generator<object, void> {
  const relation = (from: string, type: string, to: string) => ({
    spdxElementId: from,
    relationshipType: type,
    relatedSpdxElement: to,
  });
  yield relation('SPDXRef-DOCUMENT', 'DESCRIBES', rootId);
  for (const { purl, files } of components) {
    yield relation(rootId, 'CONTAINS', packageId(purl));
    for (const path of files) {
      yield { ...relation(packageId(purl), 'OTHER', fileId(path)), comment: 'the file tells of the package' };
    }
  }
}

function packageId(purl: string): string {
  return `SPDXRef-Package-${shortId(purl)}`;
}

function fileId(path: string): string {
  return `SPDXRef-File-${shortId(path)}`;
}

function licenseRef(text: string): string {
  return `LicenseRef-${shortId(text)}`;
}
