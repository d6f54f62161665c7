/** The frontend `dockerfile.v0`: ours, in process. */
import type { SourceLocation } from '../../errors/error.ts';
import { fail } from '../../errors/error.ts';
import { dockerfileFrontend } from '../../frontend/dockerfile/frontend.ts';
import { answerSubrequest } from '../../frontend/dockerfile/subrequests/answer.ts';
import type { FrontendHost, FrontendTarget, LintWarning } from '../../frontend/types.ts';
import { digestOf } from '../../oci/digest.ts';
import { formatPlatform, normalizePlatform } from '../../oci/platform.ts';
import { frontendHost } from '../host.ts';
import type { Bridge, BridgeFrontend } from './bridge.ts';
import { dockerfileRequest, isMultiPlatform } from './dockerfile-options.ts';
import { isOurs } from './syntax.ts';
import type { BridgeRequest, BridgeResult } from './types.ts';

/** What a client may ask of the frontend by `frontend.caps`. */
const frontendCaps = new Set([
  'moby.buildkit.frontend.inputs',
  'moby.buildkit.frontend.subrequests',
  'moby.buildkit.frontend.contexts',
  'moby.buildkit.frontend.gitquerystring',
]);

/** Builds a Dockerfile, or answers a question about it (`requestid`). Throws what `dockerfileFrontend` throws. */
export const dockerfileV0: BridgeFrontend = async (bridge, asked) => {
  checkFrontendCaps(asked.options['frontend.caps']);
  const request = dockerfileRequest(asked);
  const host = frontendHost(bridge.engine, bridge.job, bridge.lease, bridge);
  let forwarded: BridgeResult | undefined;
  const forwarding: FrontendHost = {
    ...host,
    forward({ image, cmdline, location }) {
      if (asked.options.cmdline !== undefined || isOurs(image)) return undefined;
      return forwardTo(bridge, asked, image, cmdline, location).then((result) => {
        forwarded = result;
        return { targets: [], warnings: [] };
      });
    },
  };
  const answer = await answerSubrequest(asked.options.requestid, request, forwarding, bridge.job.signal);
  if (forwarded !== undefined) return forwarded;
  if (answer !== undefined) return { metadata: answer };
  const { targets, warnings } = await dockerfileFrontend(request, forwarding, bridge.job.signal);
  if (forwarded !== undefined) return forwarded;
  for (const warning of warnings) tell(bridge, warning);
  return resultOf(bridge, targets, isMultiPlatform(asked, request.platforms.length));
};

/** Throws `unsupported` with the capability that nobody here knows. */
function checkFrontendCaps(list: string | undefined): void {
  for (const item of (list ?? '').split(',')) {
    const cap = item.split('+', 1)[0] ?? '';
    if (cap === '' || frontendCaps.has(cap)) continue;
    throw fail('unsupported', 'frontend', `unsupported frontend capability ${cap}`, {
      details: { frontendCapability: cap },
    });
  }
}

async function forwardTo(
  bridge: Bridge,
  asked: BridgeRequest,
  image: string,
  cmdline: string,
  location: SourceLocation,
): Promise<BridgeResult> {
  try {
    const options = { ...asked.options, source: image, cmdline };
    return await bridge.solve({ frontend: 'gateway.v0', options, inputs: asked.inputs });
  } catch (err) {
    if (err instanceof Error && 'source' in err) err.source ??= location;
    throw err;
  }
}

function tell(bridge: Bridge, warning: LintWarning): void {
  const line = warning.location.ranges[0]?.start.line;
  bridge.warn(digestOf('[internal] build checks'), {
    level: 1,
    short: `${warning.rule}: ${warning.message}${line === undefined ? '' : ` (line ${line})`}`,
    detail: [warning.description],
    url: warning.url,
    source: warning.location,
  });
}

function resultOf(bridge: Bridge, targets: readonly FrontendTarget[], multi: boolean): BridgeResult {
  const metadata: Record<string, Uint8Array> = {};
  const named = targets.map((target) => {
    const platform = normalizePlatform(target.platform);
    return { target, platform, id: formatPlatform(platform) };
  });
  for (const { target, id } of named) {
    const key = multi ? `containerimage.config/${id}` : 'containerimage.config';
    metadata[key] = Buffer.from(JSON.stringify(target.config));
  }
  const platforms = named.map(({ id, platform }) => ({ ID: id, Platform: platform }));
  metadata['refs.platforms'] = Buffer.from(JSON.stringify({ Platforms: platforms }));
  if (!multi) return { ref: bridge.ref(targets[0]?.definition), metadata };
  const refs = new Map(named.map(({ id, target }) => [id, bridge.ref(target.definition)]));
  return { refs, metadata };
}
