/** Package URLs. https://github.com/package-url/purl-spec */
import type { Distro, FoundPackage } from './types.ts';

const ofDistros = new Set(['deb', 'apk', 'rpm']);

/** Writes a package's URL: `pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12`. */
export function purlOf({ kind, namespace, name, version, qualifiers }: FoundPackage, distro: Distro): string {
  const system =
    ofDistros.has(kind) && distro.id !== '' ? `${distro.id}-${distro.version}`.replace(/-$/, '') : undefined;
  const all: Record<string, string | undefined> = { ...qualifiers, distro: system };
  const query = Object.keys(all)
    .sort()
    .flatMap((key) => (all[key] ? [`${key}=${encoded(all[key])}`] : []))
    .join('&');
  const path = [...(namespace ?? '').split('/'), name].filter((part) => part !== '').map(encoded);
  return `pkg:${kind}/${path.join('/')}${version === '' ? '' : `@${encoded(version)}`}${query && `?${query}`}`;
}

function encoded(text: string): string {
  return encodeURIComponent(text.toWellFormed())
    .replaceAll('%3A', ':')
    .replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}
