/** The frontend `dockerfile.v0`: ours, in process. */
import type { SourceLocation } from '../../errors/error.ts';
import { fail } from '../../errors/error.ts';
import { dockerfileFrontend } from '../../frontend/dockerfile/frontend.ts';
import { answerSubrequest } from '../../frontend/dockerfile/subrequests/answer.ts';
import type { FrontendHost, FrontendTarget } from '../../frontend/types.ts';
import { digestOf } from '../../oci/digest.ts';
import { isDue, nextTurn } from '../../workers/turns.ts';
import { frontendHost } from '../host.ts';
import { warningEvent } from '../warning-event.ts';
import type { Bridge, BridgeFrontend } from './bridge.ts';
import { dockerfileRequest, isMultiPlatform } from './dockerfile-options.ts';
import { unknownOptions } from './known-options.ts';
import { baseConfigKey, epochKey } from './platforms.ts';
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
    warn(warning) {
      const { vertex, ...event } = warningEvent(warning);
      bridge.warn(vertex, event);
    },
    forward({ image, cmdline, location }) {
      if (asked.options.cmdline !== undefined || isOurs(image, request.namedContexts)) return undefined;
      return forwardTo(bridge, asked, image, cmdline, location).then((result) => {
        forwarded = result;
        return { targets: [], warnings: [] };
      });
    },
  };
  const answer = await answerSubrequest(asked.options.requestid, request, forwarding, bridge.job.signal);
  if (forwarded !== undefined) return forwarded;
  if (answer !== undefined) return { metadata: answer };
  const { targets } = await dockerfileFrontend(request, forwarding, bridge.job.signal);
  if (forwarded !== undefined) return forwarded;
  for (const name of unknownOptions(asked.options)) {
    const short = `the option ${name} has no effect: dockerfile.v0 does not know it`;
    bridge.warn(digestOf('[internal] build options'), { level: 1, short, detail: [] });
  }
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

async function resultOf(
  bridge: Bridge,
  targets: readonly FrontendTarget[],
  multi: boolean,
): Promise<BridgeResult> {
  const metadata: Record<string, Uint8Array> = {};
  for (const { id, config, epoch, baseConfig } of targets) {
    const of = (name: string) => (multi ? `${name}/${id}` : name);
    if (isDue()) await nextTurn();
    metadata[of('containerimage.config')] = Buffer.from(JSON.stringify(config));
    if (isDue()) await nextTurn();
    if (baseConfig !== undefined) metadata[of(baseConfigKey)] = Buffer.from(JSON.stringify(baseConfig));
    if (epoch !== undefined) metadata[of(epochKey)] = Buffer.from(String(epoch));
  }
  const platforms = targets.map(({ id, platform }) => ({ ID: id, Platform: platform }));
  metadata['refs.platforms'] = Buffer.from(JSON.stringify({ Platforms: platforms }));
  if (!multi) return { ref: bridge.ref(targets[0]?.definition), metadata };
  const refs = new Map(targets.map(({ id, definition }) => [id, bridge.ref(definition)]));
  return { refs, metadata };
}
