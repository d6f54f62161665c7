/** The frontend `dockerfile.v0`: our own frontend, with its request in the options of BuildKit's API. */
import { attestationsAsked } from '../../attest/index.ts';
import { fail } from '../../errors/index.ts';
import { answerSubrequest, dockerfileRequest, unknownOptions } from '../../frontend/index.ts';
import { digestOf } from '../../oci/index.ts';
import type { NamedFrontend } from '../bridge/types.ts';
import { refuseWishes } from '../wishes.ts';
import { convert, openHost } from './dockerfile.ts';

/** The capabilities that a client may ask of the frontend in `frontend.caps`. */
const frontendCaps = new Set([
  'moby.buildkit.frontend.inputs',
  'moby.buildkit.frontend.subrequests',
  'moby.buildkit.frontend.contexts',
  'moby.buildkit.frontend.gitquerystring',
]);

/** Builds a Dockerfile, or answers a question about it (`requestid`). Throws the errors of `dockerfileFrontend`. */
export const dockerfileV0: NamedFrontend = async (bridge, asked) => {
  checkFrontendCaps(asked.options['frontend.caps']);
  refuseWishes(asked.options);
  const request = dockerfileRequest(asked);
  const opened = openHost(bridge, request, asked.options.cmdline === undefined ? () => asked : undefined);
  const answer = await answerSubrequest(asked.options.requestid, request, opened.host, bridge.job.signal);
  const forwarded = opened.forwarded();
  if (forwarded !== undefined) return forwarded;
  if (answer !== undefined) return { metadata: answer };
  const { sbom } = attestationsAsked(asked.options);
  const result = await convert(opened, bridge, request, { sbom });
  if (opened.forwarded() !== undefined) return result;
  for (const name of unknownOptions(asked.options)) {
    const short = `the option ${name} has no effect: dockerfile.v0 does not know it`;
    bridge.warn(digestOf('[internal] build options'), { level: 1, short, detail: [] });
  }
  return result;
};

/** Throws `unsupported` for a capability that this frontend has not; the error names it. */
function checkFrontendCaps(list: string | undefined): void {
  for (const item of (list ?? '').split(',')) {
    const cap = item.split('+', 1)[0] ?? '';
    if (cap === '' || frontendCaps.has(cap)) continue;
    throw fail('unsupported', 'frontend', `unsupported frontend capability ${cap}`, {
      details: { frontendCapability: cap },
    });
  }
}
