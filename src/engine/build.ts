/**
 * A build from its request to its result: a job and a lease, a frontend on a bridge, the exports, and the end of it
 * all.
 */
import { fail, type SourceLocation } from '../errors/index.ts';
import { rootlessProblem } from '../linux/index.ts';
import type { Graph } from '../llb/index.ts';
import type { Digest } from '../oci/index.ts';
import { both, type ProgressSink } from '../progress/index.ts';
import type { Session } from '../session/index.ts';
import { type BuildOrigin, dropLeftovers, Job } from '../solver/index.ts';
import { explainDisk } from '../store/index.ts';
import { parseBool } from '../words/index.ts';
import { Bridge } from './bridge/bridge.ts';
import { type PolicyCheck, type SourceJudge, sourceJudge } from './bridge/source-judge.ts';
import type { BridgeResult } from './bridge/types.ts';
import { BuildCaches, planCaches } from './caches.ts';
import type { Engine } from './engine.ts';
import { checkEntitlementNames } from './entitlements.ts';
import { frontends } from './frontends/table.ts';
import { beginBuild, endBuild } from './lifetime.ts';
import { makeOutputs } from './make-outputs.ts';
import { NetworkLog } from './network-log.ts';
import { openOutputs } from './outputs.ts';
import { PackAhead } from './pack-ahead.ts';
import { Rules } from './rules.ts';
import { withoutSigning } from './sign-outputs.ts';
import type { BuildRequest, Built } from './types.ts';
import { UsageLog } from './usage-log.ts';

/**
 * Runs a build to its end. When the promise settles, however it does, all work of the build has stopped and everything
 * that it held is let go. Mistakes in the outputs are found before any work is done. Rejects with a DrydockError that
 * names the step, the hop and, where lines of the Dockerfile are to blame, those lines; with `canceled` once the signal
 * has fired.
 *
 *     const request = dockerfileBuild({ ...options, tags: ['app'] });
 *     const { imageId } = await runBuild(engine, request, session, sink, signal);
 */
export async function runBuild(
  engine: Engine,
  request: BuildRequest,
  session: Session,
  sink: ProgressSink,
  signal: AbortSignal,
): Promise<Built> {
  requireRoot();
  const spans = await engine.tracing?.begin(request.traceparent, {
    'drydock.names': (originOf(request).names ?? []).join(' '),
  });
  if (spans === undefined) return runAsAsked(engine, request, session, sink, signal);
  try {
    const built = await runAsAsked(engine, request, session, both(sink, spans.sink), signal);
    spans.end();
    return built;
  } catch (err) {
    spans.end(err);
    throw err;
  }
}

async function runAsAsked(
  engine: Engine,
  request: BuildRequest,
  session: Session,
  sink: ProgressSink,
  signal: AbortSignal,
): Promise<Built> {
  if (request.verifyBy === undefined) return runOnce(engine, request, session, sink, signal);
  // Few builds are verified.
  const { verifiedBuild } = await import('./verify-reproducible.ts');
  return verifiedBuild(runOnce, engine, request, session, sink, signal);
}

async function runOnce(
  engine: Engine,
  request: BuildRequest,
  given: Session,
  sink: ProgressSink,
  signal: AbortSignal,
): Promise<Built> {
  checkEntitlementNames(request.allow);
  const chosen = openOutputs(request.outputs);
  const session = request.offline ? offlineSession(given, request) : given;
  const plan = await planCaches(request.cacheTo ?? []);
  const startedAt = Date.now();
  const { allow, rewrite, policyCheck } = request;
  const usage = request.recorded || request.provenance?.captureUsage ? new UsageLog(sink) : undefined;
  const proxied = request.proxyNetwork ?? engine.proxyNetwork;
  const reach = proxied ? new NetworkLog(usage?.sink ?? sink) : undefined;
  const job = new Job(withoutSigning(session, request.outputs), reach?.sink ?? usage?.sink ?? sink, signal, {
    allow,
    origin: originOf(request),
    knownAs: request.knownAs,
    load: (definition, stop) => rules.load(definition, stop),
    judgeUrl: (url) => rules.judgeUrl(url),
    made: (vertex, refs) => ahead?.made(vertex, refs),
  });
  const lease = await beginBuild(engine, job);
  const pack = chosen[0]?.exporter.packer?.(engine.store, plan.wants[0]?.compression);
  const ahead = pack && new PackAhead({ pack, lease });
  const judge = policyCheck && clientJudge({ engine, job, lease }, policyCheck);
  const rules = new Rules({
    ...{ allow, rewrite, judge, devices: engine.devices, proxied },
    loaded: (graph) => tellSources(sink, graph),
  });
  const caches = new BuildCaches(engine, job, lease);
  let bridge: Bridge | undefined;
  try {
    await caches.import(request.cacheFrom ?? []);
    const { workers } = request;
    const named = request.frontends ?? frontends;
    bridge = new Bridge({ engine, job, lease, rules, workers, caches, frontends: named, ahead });
    if (request.asked !== undefined) bridge.begin(request.asked);
    const made = await request.frontend(bridge);
    if (made.isAnswer) {
      const warnings = [...(made.findings ?? [])];
      return { ...nothing(), result: made, answer: made.metadata, warnings };
    }
    const result = await scanned(bridge, request, made);
    const built = await makeOutputs(
      { ahead, bridge, request, session, plan, caches, chosen, startedAt, usage, reach },
      result,
    );
    engine.solver.over(job);
    return built;
  } catch (err) {
    await dropLeftovers(err, engine.store);
    throw await explainDisk(err, engine.store);
  } finally {
    usage?.stop();
    await tellShortfall(engine, job, rules).catch(() => {});
    bridge?.close();
    await ahead?.close();
    await endBuild(engine, job, lease, () => caches.close());
  }
}

/** Tells where in a Dockerfile the steps of a graph stand. */
function tellSources(sink: ProgressSink, { vertices }: Graph): void {
  if (sink.sources === undefined) return;
  const places = new Map<Digest, SourceLocation>();
  for (const { digest, source } of vertices) if (source !== undefined) places.set(digest, source);
  if (places.size > 0) sink.sources({ places });
}

/** The same session for a build that asks nobody. Throws `invalid` for outputs and caches that go to somebody. */
function offlineSession(session: Session, { outputs, cacheTo = [] }: BuildRequest): Session {
  const cannot = (what: string) =>
    fail('invalid', 'client', `an offline build cannot ${what}`, { hint: 'Leave it out, or --offline.' });
  if (outputs.some(({ attrs }) => parseBool(attrs.push ?? 'false') === true)) throw cannot('push its result');
  const sent = cacheTo.find(({ type }) => type !== 'local' && type !== 'inline');
  if (sent !== undefined) throw cannot(`write a cache of the type ${sent.type}`);
  return Object.create(session, { offline: { value: true, enumerable: true } }) as Session;
}

/** Adds the bills of materials that the request asks for. */
async function scanned(bridge: Bridge, { sbom }: BuildRequest, result: BridgeResult): Promise<BridgeResult> {
  if (sbom === undefined) return result;
  // Loaded only when asked for: a command builds without it.
  const { withScans } = await import('./scan.ts');
  return withScans(bridge, result, sbom);
}

/** Says that the build's steps had this host's network, where they could not have one of their own. */
async function tellShortfall({ network }: Engine, job: Job, rules: Rules): Promise<void> {
  const { shortfall } = network;
  if (shortfall === undefined || !rules.hasNetworkSteps) return;
  await job.inVertex('[internal] network of the steps', async (progress) => {
    progress.warn({ level: 1, short: shortfall.message, detail: [shortfall.hint] });
  });
}

/** What a build is made from, for telling it from others. */
function originOf({ origin, tags, outputs }: BuildRequest): BuildOrigin {
  const names = (tags ?? []).length > 0 ? tags : outputs.flatMap(({ attrs: { name } }) => name ?? []);
  return { ...origin, names };
}

function nothing(): Pick<Built, 'metadata' | 'stored' | 'descriptors' | 'documents'> {
  return { metadata: {}, stored: [], descriptors: new Map(), documents: [] };
}

/**
 * A judge that asks the client about each source. When the client's policy wants to know more of a source, the source
 * is looked up without being judged a second time.
 */
function clientJudge(at: Pick<Bridge, 'engine' | 'job' | 'lease'>, check: PolicyCheck): SourceJudge {
  return sourceJudge(check, async (request) => {
    const { lookUpSource } = await import('./gateway/sources.ts');
    return lookUpSource(at, request, {});
  });
}

/**
 * Throws `denied` unless this process is root, of the machine or of a user namespace: the files of a build have all
 * kinds of owners, and root alone can make the containers of steps.
 */
function requireRoot(): void {
  const problem = rootlessProblem();
  if (problem === undefined) return;
  throw fail('denied', 'host', `building without root needs a user namespace: ${problem.why}`, {
    hint: `${problem.remedy} \`drydock doctor\` says what else is needed.`,
  });
}
