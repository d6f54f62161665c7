import { type DrydockError, fail, type Hop } from '../../errors/index.ts';
import { maxLayers } from '../../oci/index.ts';

/** Nothing could run on such a tree, and no image of it be pulled or loaded. */
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
