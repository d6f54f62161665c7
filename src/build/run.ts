/** One build, from request to result: frontend, solve, export. All of it runs on the engine under one lease. */
import { DrydockError, fail, throwIfAborted } from '../errors/error.ts';
import { createExporter } from '../exporter/exporters.ts';
import type { ExportResponse, PlatformResult } from '../exporter/types.ts';
import { dockerfileFrontend } from '../frontend/dockerfile/frontend.ts';
import type { Frontend, FrontendTarget, LintWarning } from '../frontend/types.ts';
import { type Graph, loadGraph } from '../llb/graph.ts';
import { limitSteps } from '../llb/limits.ts';
import { digestOf } from '../oci/digest.ts';
import { normalizeName } from '../oci/reference.ts';
import type { Session } from '../session/types.ts';
import { Job } from '../solver/job.ts';
import type { ProgressSink } from '../solver/progress.ts';
import { Bridge } from './bridge/bridge.ts';
import { forwardFrom } from './bridge/forward.ts';
import { frontends } from './bridge/frontends.ts';
import { autoPrune } from './disk-usage.ts';
import type { Engine } from './engine.ts';
import { checkEntitlements } from './entitlements.ts';
import { frontendHost } from './host.ts';
import type { BuildOptions, BuildResult, OutputSpec } from './types.ts';

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
  requireRoot();
  const outputs: OutputSpec[] = options.outputs.length > 0 ? options.outputs : [{ type: 'image', attrs: {} }];
  // Mistakes in the outputs are said before any work is done.
  const exporters = outputs.flatMap((output) => {
    if (output.type === 'cacheonly') return [];
    const exporter = createExporter(output.type, output.attrs);
    return [{ output, exporter, names: namesOf(output, options.tags) }];
  });
  const job = new Job(session, sink, signal);
  const lease = `build-${job.id}`;
  await engine.store.leases.create(lease);
  try {
    const bridge = new Bridge({ engine, job, lease, allow: options.allow }, frontends);
    const host = { ...frontendHost(engine, job, lease), forward: forwardFrom(bridge, options) };
    const { targets, warnings } = await frontend(options, host, job.signal);
    for (const warning of warnings) sink.warning(warningEvent(warning));
    if (options.check) return { metadata: {}, warnings };
    const { limits } = options;
    if (limits !== undefined) for (const { definition } of targets) limitSteps(definition, limits);
    const graphs = targets.map(({ definition }) => loadGraph(definition));
    for (const graph of graphs) checkEntitlements(graph, options.allow);
    const results = await solveTargets(engine, job, targets, graphs);
    const metadata: Record<string, unknown> = {};
    let first: ExportResponse | undefined;
    for (const { output, exporter, names } of exporters) {
      throwIfAborted(job.signal);
      const request = {
        results,
        attrs: output.attrs,
        names,
        sourceDateEpoch: options.sourceDateEpoch ?? epochArg(options.buildArgs),
      };
      const response = await job.inVertex(exporter.title, (progress) =>
        exporter.export(request, {
          store: engine.store,
          registry: engine.registry,
          session,
          progress,
          signal: job.signal,
          lease,
          sink: output.sink,
        }),
      );
      first ??= response;
      Object.assign(metadata, response.metadata);
    }
    return {
      imageId: first?.imageId,
      descriptor: first?.descriptor,
      size: first?.size,
      metadata,
      warnings,
    };
  } finally {
    await engine.solver.release(job);
    await engine.store.leases.delete(lease);
    await autoPrune(engine);
  }
}

/** Files of a build have all kinds of owners, and steps run in containers that root makes. */
export function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw fail('denied', 'host', 'building needs root for now', {
    hint: 'Run drydock with sudo. `drydock doctor` says what else is needed.',
  });
}

async function solveTargets(
  engine: Engine,
  job: Job,
  targets: readonly FrontendTarget[],
  graphs: readonly Graph[],
): Promise<PlatformResult[]> {
  const vertices = [...new Map(graphs.flatMap((g) => g.vertices).map((v) => [v.digest, v])).values()];
  const byDigest = new Map(vertices.map((v) => [v.digest, v]));
  const edges = graphs.flatMap(({ output }) => {
    const vertex = output && byDigest.get(output.vertex.digest);
    return vertex === undefined || output === undefined ? [] : [{ vertex, index: output.index }];
  });
  const refs = await engine.solver.solve(job, vertices, edges);
  let at = 0;
  return targets.map(({ platform, config }, i) => ({
    platform,
    config,
    ref: graphs[i]?.output === undefined ? undefined : refs[at++],
  }));
}

/** The names of an output: its own `name` attribute (comma-separated), else the build's tags. */
export function namesOf(output: OutputSpec, tags: readonly string[]): string[] {
  const own = (output.attrs.name ?? '').split(',').filter((name) => name !== '' && name !== '*');
  return [...new Set((own.length > 0 ? own : tags).map(normalizeName))];
}

export function epochArg(buildArgs: Record<string, string>): number | undefined {
  const text = buildArgs.SOURCE_DATE_EPOCH;
  if (text === undefined || text === '') return undefined;
  if (!/^\d{1,12}$/.test(text)) {
    throw new DrydockError(`invalid SOURCE_DATE_EPOCH: ${JSON.stringify(text)}`, {
      code: 'invalid',
      hop: 'client',
      hint: 'It is a number of seconds since 1970-01-01 UTC, for example `git log -1 --pretty=%ct`.',
    });
  }
  return Number(text);
}

function warningEvent(warning: LintWarning): Parameters<ProgressSink['warning']>[0] {
  const line = warning.location.ranges[0]?.start.line;
  return {
    vertex: digestOf('[internal] build checks'),
    level: 1,
    short: `${warning.rule}: ${warning.message}${line === undefined ? '' : ` (line ${line})`}`,
    detail: [warning.description],
    url: warning.url,
    source: warning.location,
  };
}
