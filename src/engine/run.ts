/** A build of a Dockerfile, from request to result: frontend, solve, export. */
import type { PlatformResult } from '../exporter/types.ts';
import { dockerfileFrontend } from '../frontend/dockerfile/frontend.ts';
import type { Frontend, FrontendHost, FrontendTarget, LintWarning } from '../frontend/types.ts';
import { type Graph, loadGraphInTurns } from '../llb/graph.ts';
import type { ProgressSink } from '../progress/events.ts';
import { inlineByArg } from '../remote-cache/spec-text.ts';
import type { Session } from '../session/types.ts';
import type { Job } from '../solver/job.ts';
import { epochSeconds } from '../words/epoch.ts';
import { isOurs } from './bridge/syntax.ts';
import { takeCourse, type Worked } from './course.ts';
import type { Engine } from './engine.ts';
import { checkEntitlements } from './entitlements.ts';
import { emptyIgnoredCaches } from './fresh-caches.ts';
import { frontendHost } from './host.ts';
import type { BuildOptions, BuildResult } from './types.ts';
import { warningEvent } from './warning-event.ts';

/**
 * Runs a build to its end. Rejects with a DrydockError that names the step, the hop and, where one is to blame, the
 * Dockerfile's lines; with `canceled` once the signal fired and everything has stopped.
 */
export async function runBuild(
  engine: Engine,
  options: BuildOptions,
  session: Session,
  sink: ProgressSink,
  signal: AbortSignal,
  frontend: Frontend = dockerfileFrontend,
): Promise<BuildResult> {
  const { value, first, metadata, stored } = await takeCourse<LintWarning[]>(engine, {
    outputs: options.outputs.length > 0 ? options.outputs : [{ type: 'image', attrs: {} }],
    tags: options.tags,
    sourceDateEpoch: options.sourceDateEpoch ?? epochSeconds(options.buildArgs.SOURCE_DATE_EPOCH),
    cacheFrom: options.check ? [] : (options.cacheFrom ?? []),
    cacheTo: [...(options.cacheTo ?? []), ...inlineByArg(options.buildArgs)],
    madeNow: options.classic,
    allow: options.allow,
    session,
    sink,
    signal,
    work: (job, lease) => work(engine, options, sink, frontend, job, lease),
  });
  const { imageId, descriptor, size } = first ?? {};
  return { imageId, descriptor, size, metadata, warnings: value, stored };
}

async function work(
  engine: Engine,
  options: BuildOptions,
  sink: ProgressSink,
  frontend: Frontend,
  job: Job,
  lease: string,
): Promise<Worked<LintWarning[]>> {
  job.load = async (definition) => {
    const graph = await loadGraphInTurns(definition, { signal: job.signal });
    checkEntitlements(graph, options.allow);
    return graph;
  };
  const host: FrontendHost = {
    ...frontendHost(engine, job, lease),
    warn: (warning) => sink.warning(warningEvent(warning)),
    forward(syntax) {
      if (isOurs(syntax.image, options.namedContexts)) return undefined;
      // Loaded only when asked for: it is more code than the rest of a build.
      const bridge = { engine, job, lease };
      return import('./bridge/forward.ts').then((m) => m.forwardBuild(bridge, options, syntax));
    },
  };
  const { targets, warnings } = await frontend(options, host, job.signal);
  if (options.check) return { value: warnings };
  const graphs = await Promise.all(targets.map(({ definition }) => job.load(definition)));
  const results = await solveTargets(engine, job, targets, graphs);
  const epoch = targets.find((target) => target.epoch !== undefined)?.epoch;
  return { value: warnings, results, epoch, definitions: targets.map(({ definition }) => definition) };
}

async function solveTargets(
  engine: Engine,
  job: Job,
  targets: readonly FrontendTarget[],
  graphs: readonly Graph[],
): Promise<PlatformResult[]> {
  const vertices = graphs.flatMap((graph) => graph.vertices);
  const edges = graphs.flatMap((graph) => graph.output ?? []);
  await emptyIgnoredCaches(engine.store, job, vertices);
  const refs = await engine.solver.solve(job, vertices, edges);
  let at = 0;
  return targets.map(({ id, platform, config, baseConfig }, i) => ({
    id,
    platform,
    config,
    baseHistory: baseConfig?.history,
    ref: graphs[i]?.output === undefined ? undefined : refs[at++],
  }));
}
