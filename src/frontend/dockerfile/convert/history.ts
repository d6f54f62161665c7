import { printable } from '../../../errors/printable.ts';
import type { ImageConfig } from '../../../oci/types.ts';

/** Adds an instruction to the image's history. `epoch`: seconds; without it the exporter fills in the time. */
export function commit(
  image: ImageConfig,
  createdBy: string,
  options: { layer?: boolean; buildkit?: boolean; epoch?: number } = {},
): void {
  const entry: NonNullable<ImageConfig['history']>[number] = {
    created_by: printable(options.buildkit ? `${createdBy} # buildkit` : createdBy),
    comment: 'buildkit.dockerfile.v0',
  };
  if (options.epoch !== undefined) entry.created = isoTime(options.epoch);
  if (!options.layer) entry.empty_layer = true;
  image.history ??= [];
  image.history.push(entry);
}

/** Seconds since the epoch as RFC 3339 without a fraction. */
export function isoTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
}
