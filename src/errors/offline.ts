import { type DrydockError, fail, type Hop } from './error.ts';

/**
 * The error of an offline build that would have to ask somebody: `unavailable`. `what` names the thing that is not here.
 *
 *     throw offline('registry', 'the image alpine:3 is not here')
 */
export function offline(hop: Hop, what: string, hint?: string): DrydockError {
  return fail('unavailable', hop, `${what}, and the build is offline`, {
    hint: hint ?? 'Build once without --offline: what was fetched then is used.',
  });
}
