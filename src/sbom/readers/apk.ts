/** Alpine's database `lib/apk/db/installed`. https://wiki.alpinelinux.org/wiki/Apk_spec */
import { linesOf } from '../lines.ts';
import type { Found, FoundPackage } from '../types.ts';
import { stanzas } from './stanzas.ts';

/** Reads the packages that are installed. */
export function* apkInstalled(found: Found): Generator<FoundPackage, void> {
  for (const stanza of stanzas(linesOf(found), ['P', 'V', 'A', 'L', 'o', 'm', 'U'])) {
    const { P: name, V: version } = stanza;
    if (name === undefined || version === undefined) continue;
    yield {
      kind: 'apk',
      namespace: found.distro.id || 'alpine',
      name,
      version,
      qualifiers: { arch: stanza.A, upstream: stanza.o === name ? undefined : stanza.o },
      license: stanza.L,
      supplier: stanza.m,
      homepage: stanza.U,
    };
  }
}
