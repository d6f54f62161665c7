import { type DrydockError, fail, type Hop } from '../../errors/index.ts';
import { maxLayers } from '../../oci/index.ts';

/**
 * The error for a tree of more layers than can be mounted: no step could run on it, and its image could not be pulled
 * or loaded.
 */
export function tooManyLayers(hop: Hop): DrydockError {
  return fail(
    'exhausted',
    hop,
    `the tree has more than ${maxLayers} layers, which is more than can be stacked`,
    {
      hint: 'Join steps, or start a new stage and COPY --from the old one.',
    },
  );
}
