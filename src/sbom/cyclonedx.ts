/** Writes an inventory as CycloneDX 1.6 in JSON. https://cyclonedx.org/docs/1.6/json/ */
import { type DocumentFacts, listJson, membersJson, timeText, uuidOf } from './document.ts';
import type { Component, Inventory } from './inventory.ts';
import { licenseParts } from './licenses.ts';
import { groupOf } from './names.ts';

/** Yields the document in pieces. */
export function* cycloneDxJson(inventory: Inventory, facts: DocumentFacts): Generator<string, void> {
  const { distro, components } = inventory;
  yield '{';
  yield membersJson({
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${uuidOf(inventory, facts)}`,
    version: 1,
    metadata: {
      timestamp: timeText(facts.createdAt),
      tools: { components: [{ type: 'application', name: 'drydock', version: facts.version }] },
      component: { type: 'container', 'bom-ref': 'root', name: facts.name },
    },
  });
  yield ',';
  const system =
    distro.id === ''
      ? []
      : [
          {
            type: 'operating-system',
            'bom-ref': `os:${distro.id}@${distro.version}`,
            name: distro.id,
            version: distro.version || undefined,
            description: distro.name || undefined,
          },
        ];
  yield* listJson('components', [...system, ...components.map(componentJson)]);
  yield ',';
  yield* listJson('dependencies', [{ ref: 'root', dependsOn: components.map(({ purl }) => purl) }]);
  yield '}';
}

function componentJson(component: Component) {
  const { purl, name, version, license, supplier, homepage, files } = component;
  const mail = supplier === undefined ? undefined : /^(.*?)\s*<([^>]*)>/.exec(supplier);
  return {
    type: 'library',
    'bom-ref': purl,
    group: groupOf(component),
    name,
    version: version || undefined,
    supplier: supplier === undefined ? undefined : { name: mail?.[1] ?? supplier },
    licenses: licensesOf(license),
    purl,
    externalReferences:
      homepage !== undefined && /^https?:\/\/\S+$/.test(homepage)
        ? [{ type: 'website', url: homepage }]
        : undefined,
    evidence: { occurrences: files.map((location) => ({ location })) },
  };
}

/** An expression, or a list of names where one of them is none that SPDX knows: the format allows no mixture. */
function licensesOf(license: Component['license']): object[] | undefined {
  const parts = licenseParts(license);
  if (parts.length === 0) return undefined;
  if (parts.every(({ known }) => known)) return [{ expression: parts.map(({ text }) => text).join(' AND ') }];
  return parts.map(({ text }) => ({ license: { name: text } }));
}
