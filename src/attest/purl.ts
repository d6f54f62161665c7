/** Images as package URLs (https://github.com/package-url/purl-spec), in the form that BuildKit gives them. Pure. */
import {
  familiarName,
  formatPlatform,
  formatReference,
  type Platform,
  parseReference,
} from '../oci/index.ts';

interface PurlOptions {
  /** `docker` for an image in a registry, `oci` for an image in a layout. */
  type?: 'docker' | 'oci';
  platform?: Platform;
  /** Leaves the reference's digest out. */
  withoutDigest?: boolean;
  /** Further qualifiers. */
  more?: Readonly<Record<string, string>>;
}

/** Writes an image's name as `pkg:docker/alpine@3.17?platform=linux%2Famd64`. Throws `invalid` for an invalid name. */
export function imagePurl(name: string, options: PurlOptions = {}): string {
  const { type = 'docker', platform, withoutDigest = false, more } = options;
  const { domain, path, tag, digest } = parseReference(name);
  const plain = familiarName(formatReference({ domain, path }));
  const version = tag ?? (digest === undefined ? 'latest' : undefined);
  const qualifiers: Record<string, string> = { ...more };
  if (digest !== undefined && !withoutDigest) qualifiers.digest = digest;
  if (platform !== undefined) qualifiers.platform = formatPlatform(platform);
  const query = Object.entries(qualifiers)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${encoded(value)}`)
    .join('&');
  // A registry's port has its colon encoded, as in BuildKit's.
  const at = plain.split('/').map(encodeURIComponent).join('/');
  return `pkg:${type}/${at}${version === undefined ? '' : `@${encoded(version)}`}${query && `?${query}`}`;
}

/** Percent-encoded but for colons, which versions and qualifiers have plain. */
function encoded(text: string): string {
  return encodeURIComponent(text).replaceAll('%3A', ':');
}
