import { fail, printable } from '../../../errors/index.ts';
import type { ImageConfig } from '../../../oci/index.ts';
import type { Conversion } from './conversion.ts';
import type { StageState } from './stages.ts';

/**
 * The most instructions in the history of one image, with those of its base: the result of each is made, kept and read
 * again.
 */
const maxHistory = 15_000;

/** Adds an instruction to the history of the stage's image. */
export function commit(
  { epoch, allowances }: Conversion,
  { grown }: StageState,
  createdBy: string,
  options: { layer?: boolean; buildkit?: boolean } = {},
): void {
  allowances.history.take(createdBy.length + 64);
  const length = (grown.history?.length ?? 0) + 1;
  if (length > maxHistory) {
    throw fail('exhausted', 'dockerfile', `the history of an image has more than ${maxHistory} entries`, {
      hint: 'Join instructions: an ENV, ARG, LABEL or EXPOSE takes many values.',
    });
  }
  const entry: NonNullable<ImageConfig['history']>[number] = {
    created_by: printable(options.buildkit ? `${createdBy} # buildkit` : createdBy),
    comment: 'buildkit.dockerfile.v0',
  };
  // Without it the exporter fills in the time.
  if (epoch !== undefined) entry.created = isoTime(epoch);
  if (!options.layer) entry.empty_layer = true;
  grown.history = { entry, before: grown.history, length };
}

/** Seconds since the epoch as RFC 3339, without a fraction. */
function isoTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
}
