/** Makes builds of a Dockerfile by our own frontend, in process. */
import type { SbomOptions } from '../../attest/index.ts';
import { fail, type SourceLocation } from '../../errors/index.ts';
import {
  type DockerfileRequest,
  dockerfileFrontend,
  type FrontendHost,
  type FrontendOptions,
  type FrontendResult,
  type FrontendTarget,
} from '../../frontend/index.ts';
import { limitSteps, nameNetwork } from '../../llb/index.ts';
import { parseBool } from '../../words/index.ts';
import { isDue, nextTurn } from '../../workers/index.ts';
import type { Bridge } from '../bridge/bridge.ts';
import { baseConfigKey, epochKey, platformTargets } from '../bridge/platforms.ts';
import type { BridgeRef } from '../bridge/ref.ts';
import type { BridgeResult, Frontend } from '../bridge/types.ts';
import { frontendHost } from './host.ts';
import type { LinkedRequests } from './linked.ts';
import { isOurs } from './syntax.ts';
import { warningEvent } from './warning-event.ts';

/** Functions that a build of a Dockerfile calls on its way. */
export interface DockerfileHooks {
  /** Hears what is going to be built, before it is. The build waits until the promise resolves. */
  onPlan?(plan: FrontendResult): void | Promise<void>;
}

/** What else a build of a Dockerfile is asked for. */
interface DockerfileExtras extends DockerfileHooks {
  /** Asks for bills of materials. */
  sbom?: SbomOptions;
  /** The builds that named contexts `target:NAME` are results of. */
  linked?: LinkedRequests;
}

/**
 * Makes a build of a Dockerfile. A Dockerfile whose `# syntax=` line names another frontend is handed over to that one.
 * Rejects with the errors of `dockerfileFrontend`, and with those of the frontend that took over.
 */
export function dockerfile(given: DockerfileRequest, extras: DockerfileExtras = {}): Frontend {
  return async (bridge) => {
    const request = extras.linked === undefined ? given : await linkedRequest(given, extras.linked, bridge);
    // Loaded only when asked for: few builds are handed over.
    const options = async () => {
      const { optionsOf } = await import('../../frontend/dockerfile/request-options.ts');
      return optionsOf(request);
    };
    const result = await convert(openHost(bridge, request, options), bridge, request, extras);
    bridge.note(result, { frontend: 'dockerfile.v0', options: async () => (await options()).options });
    return result;
  };
}

async function linkedRequest(
  request: DockerfileRequest,
  linked: LinkedRequests,
  bridge: Bridge,
): Promise<DockerfileRequest> {
  // Loaded only when asked for: few builds are made of others.
  const { linkResult, withLinks } = await import('./linked.ts');
  return withLinks(request, linked, async (asked) => linkResult(await dockerfile(asked)(bridge)));
}

/** The host of one conversion, and the other frontend's result when the build was handed over. */
interface ForwardingHost {
  host: FrontendHost;
  /** The other frontend's result; undefined as long as nothing was handed over. */
  forwarded(): BridgeResult | undefined;
}

/**
 * Opens the host for our own frontend. A Dockerfile that names another frontend is handed over to it with `options`;
 * without `options` nothing is ever handed over.
 */
export function openHost(
  bridge: Bridge,
  request: DockerfileRequest,
  options: (() => FrontendOptions | Promise<FrontendOptions>) | undefined,
): ForwardingHost {
  bridge.expectFolders(purposeOf(request));
  let forwarded: BridgeResult | undefined;
  const host: FrontendHost = {
    ...frontendHost(bridge),
    warn: (warning) => bridge.job.sink.warning(warningEvent(warning)),
    forward({ image, cmdline, location }) {
      if (options === undefined || isOurs(image, request.namedContexts)) return undefined;
      return (async () => {
        const asked = await options();
        const source = { ...asked.options, source: image, cmdline };
        forwarded = await handOver(bridge, { options: source, inputs: asked.inputs }, request, location);
        return { targets: [], warnings: [] };
      })();
    },
  };
  return { host, forwarded: () => forwarded };
}

/** A description of all that says which of the client's folders are needed, and what of them, but the Dockerfile. */
function purposeOf(request: DockerfileRequest): string {
  const { context, dockerfile, dockerfileLocal, target, namedContexts } = request;
  const from = context.type === 'local' ? context.name : context.type;
  return JSON.stringify(['dockerfile', from, dockerfile, dockerfileLocal, target, namedContexts]);
}

/** Converts the Dockerfile. Nothing of the result is solved yet. */
export async function convert(
  { host, forwarded }: ForwardingHost,
  bridge: Bridge,
  request: DockerfileRequest,
  { onPlan, sbom }: DockerfileExtras = {},
): Promise<BridgeResult> {
  if (request.networkName !== undefined) bridge.engine.network.find(request.networkName);
  const scanned = sbom !== undefined;
  if (request.subrequest !== undefined) {
    // Loaded only when asked for: a command builds without it.
    const { answerSubrequest } = await import('../../frontend/dockerfile/subrequests/answer.ts');
    const answer = await answerSubrequest(request.subrequest, request, host, bridge.job.signal);
    return { metadata: forwarded()?.metadata ?? answer ?? {}, isAnswer: true };
  }
  const plan = await dockerfileFrontend({ ...request, scanned }, host, bridge.job.signal);
  const other = forwarded();
  if (request.check) return { metadata: {}, findings: plan.warnings, isAnswer: true };
  if (other !== undefined) {
    await onPlan?.({ targets: platformTargets(other), warnings: [] });
    return other;
  }
  await onPlan?.(plan);
  const result = {
    ...(await resultOf(bridge, plan.targets, isByPlatform(request))),
    findings: plan.warnings,
  };
  if (sbom === undefined) return result;
  const trees = plan.targets.map(({ id, definition: core, scan, epoch }) => ({ id, core, epoch, ...scan }));
  // Loaded only when asked for: a command builds without it.
  const { withScansOf } = await import('../scan.ts');
  return withScansOf(bridge, result, trees, sbom, request.pull);
}

async function handOver(
  bridge: Bridge,
  asked: FrontendOptions,
  { limits, networkName }: DockerfileRequest,
  location: SourceLocation,
): Promise<BridgeResult> {
  try {
    const result = await bridge.solve({ frontend: 'gateway.v0', ...asked });
    if (limits === undefined && networkName === undefined) return result;
    // Frontends of old know nothing of limits, and no other one of named networks.
    const limited = (ref: BridgeRef | undefined) => {
      if (ref === undefined) return undefined;
      limitSteps(ref.definition, limits);
      nameNetwork(ref.definition, networkName);
      return bridge.ref(ref.definition);
    };
    const refs = result.refs && new Map([...result.refs].map(([id, ref]) => [id, limited(ref)]));
    return { ...result, ref: limited(result.ref), refs };
  } catch (err) {
    if (err instanceof Error && 'source' in err) err.source ??= location;
    throw err;
  }
}

/** Whether the client wants its result as a list by platform, even of one platform. */
function isByPlatform({ buildArgs, platforms, multiPlatform }: DockerfileRequest): boolean {
  const name = 'BUILDKIT_MULTI_PLATFORM';
  const text = Object.hasOwn(buildArgs, name) ? buildArgs[name] : undefined;
  const wanted = text ? parseBool(text) : multiPlatform;
  if (text && wanted === undefined) {
    throw fail('invalid', 'frontend', `invalid boolean value for multi-platform: ${text}`);
  }
  if (wanted === false && platforms.length > 1) {
    const message = 'conflicting config: returning multiple target platforms is not allowed';
    throw fail('invalid', 'frontend', message);
  }
  return wanted ?? platforms.length > 1;
}

async function resultOf(
  bridge: Bridge,
  targets: readonly FrontendTarget[],
  byPlatform: boolean,
): Promise<BridgeResult> {
  const metadata: Record<string, Uint8Array> = {};
  for (const { id, config, epoch, baseConfig } of targets) {
    const of = (name: string) => (byPlatform ? `${name}/${id}` : name);
    if (isDue()) await nextTurn();
    metadata[of('containerimage.config')] = Buffer.from(JSON.stringify(config));
    if (isDue()) await nextTurn();
    if (baseConfig !== undefined) metadata[of(baseConfigKey)] = Buffer.from(JSON.stringify(baseConfig));
    if (epoch !== undefined) metadata[of(epochKey)] = Buffer.from(String(epoch));
  }
  const platforms = targets.map(({ id, platform }) => ({ ID: id, Platform: platform }));
  metadata['refs.platforms'] = Buffer.from(JSON.stringify({ Platforms: platforms }));
  if (!byPlatform) return { ref: bridge.ref(targets[0]?.definition), metadata };
  const refs = new Map(targets.map(({ id, definition }) => [id, bridge.ref(definition)]));
  return { refs, metadata };
}
