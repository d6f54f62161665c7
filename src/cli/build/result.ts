/** Tells of a build's result. */
import type { BuildOptions, BuildResult } from '../../engine/index.ts';
import { normalizeName } from '../../oci/index.ts';
import { formatBytes } from '../units.ts';

/** The result as `--metadata-file` has it. */
export function metadataOf({ tags }: BuildOptions, result: BuildResult): Record<string, unknown> {
  const names = tags.map(normalizeName).join(',');
  return { ...result.metadata, ...(names === '' ? {} : { 'image.name': names }) };
}

/** The lines that name the image; '' where there is none. */
export function resultLine({ tags }: BuildOptions, { descriptor, imageId, size }: BuildResult): string {
  if (descriptor === undefined || imageId === undefined) return '';
  const name = tags.length === 0 ? '(no name)' : tags.join(', ');
  return `\nBuilt ${name}\n  digest  ${descriptor.digest}\n  image   ${imageId}\n${size === undefined ? '' : `  size    ${formatBytes(size)}\n`}`;
}
