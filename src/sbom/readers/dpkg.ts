/**
 * dpkg's databases: `var/lib/dpkg/status`, and a file for each package in `status.d`, as distroless images have them.
 * https://man7.org/linux/man-pages/man5/deb-control.5.html
 */
import { linesOf } from '../lines.ts';
import type { Found, FoundPackage } from '../types.ts';
import { debianLicenses } from './debian-copyright.ts';
import { stanzas } from './stanzas.ts';

const fields = ['Package', 'Status', 'Version', 'Architecture', 'Source', 'Maintainer', 'Homepage'];

/** Reads the packages that are installed; those of which only the configuration is left are none. */
export function* dpkgStatus(found: Found): Generator<FoundPackage, void> {
  for (const stanza of stanzas(linesOf(found), fields)) {
    const { Package: name, Version: version, Status: status } = stanza;
    if (name === undefined || version === undefined) continue;
    // Files in status.d have no status.
    if (status !== undefined && !/ (installed|triggers-pending|triggers-awaited)$/.test(status)) continue;
    const [source, given] = (stanza.Source ?? '').split(' ', 2);
    const upstream = source && `${source}${given === undefined ? '' : `@${given.replace(/[()]/g, '')}`}`;
    yield {
      kind: 'deb',
      namespace: found.distro.id || 'debian',
      name,
      version,
      qualifiers: { arch: stanza.Architecture, upstream },
      license: debianLicenses(found.view, name),
      supplier: stanza.Maintainer,
      homepage: stanza.Homepage,
    };
  }
}
