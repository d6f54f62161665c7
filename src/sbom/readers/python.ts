/**
 * Python's installed distributions: METADATA in a `.dist-info`, PKG-INFO in an `.egg-info`, or an `.egg-info` that is
 * such a file itself. https://packaging.python.org/en/latest/specifications/core-metadata/
 */
import { linesOf } from '../lines.ts';
import type { Found, FoundPackage } from '../types.ts';
import { stanzas } from './stanzas.ts';

const fields = ['Name', 'Version', 'License-Expression', 'License', 'Author', 'Home-page'];

/** Reads one distribution. The description below the header is not read. */
export function* pythonMetadata(found: Found): Generator<FoundPackage, void> {
  for (const stanza of stanzas(linesOf(found), fields)) {
    const { Name: given, Version: version } = stanza;
    if (given === undefined || version === undefined) return;
    const license = stanza['License-Expression'] ?? stanza.License;
    yield {
      kind: 'pypi',
      // Names are compared in this form, and package URLs have it.
      name: given.toLowerCase().replaceAll(/[-_.]+/g, '-'),
      version,
      license: license === 'UNKNOWN' ? undefined : license,
      supplier: stanza.Author === 'UNKNOWN' ? undefined : stanza.Author,
      homepage: stanza['Home-page'] === 'UNKNOWN' ? undefined : stanza['Home-page'],
    };
    return;
  }
}
