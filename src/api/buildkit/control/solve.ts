/** Control's Solve: a build. */
import { randomUUID } from 'node:crypto';
import type { HandlerContext } from '@connectrpc/connect';
import { attestationsAsked } from '../../../attest/index.ts';
import { type Authority, identityKey, tenantOf } from '../../../auth/index.ts';
import {
  type BuildRequest,
  bothGiven,
  client,
  definition,
  type Frontend,
  type NamedFrontends,
  named,
  type OpenGateway,
  runBuild,
  takeWishes,
  withGateway,
} from '../../../engine/index.ts';
import { fail } from '../../../errors/index.ts';
import { ignoringCache, sourceRewriteInTurns } from '../../../llb/index.ts';
import type { SolveRequest } from '../../../pb/moby/buildkit/v1/control_pb.js';
import type { WorkerRecord } from '../../../pb/moby/buildkit/v1/types/worker_pb.js';
import { buildIdOf, exporterResponse, imageSizeKey } from '../../../records/index.ts';
import { type ClientSession, inProcessSession, namedSession, type Session } from '../../../session/index.ts';
import { epochSeconds } from '../../../words/index.ts';
import type { BuildLog } from '../../shared/build-log.ts';
import type { ApiHost } from '../../shared/host.ts';
import { callerOf } from '../caller.ts';
import type { Gateways } from '../gateway/gateways.ts';
import type { History } from '../history/history.ts';
import { endOf } from '../history/record.ts';
import type { Jobs } from '../jobs/jobs.ts';
import { beginBuild } from '../jobs/record-build.ts';
import { cachesOf, checkSizes, dockerTypesOf, grantedEntitlements, outputOf, outputsOf } from './request.ts';

interface SolveDeps {
  host: ApiHost;
  jobs: Jobs;
  gateways: Gateways;
  history: History;
  worker(): Promise<WorkerRecord>;
  entitlements?: readonly string[];
  frontends: NamedFrontends;
}

interface SolveService {
  solve(
    request: SolveRequest,
    context: HandlerContext,
  ): Promise<{ ExporterResponse: Record<string, string> }>;
}

/** Makes the method. */
export function solveService(deps: SolveDeps): SolveService {
  return {
    async solve(request, context) {
      const authority = callerOf(context);
      checkSizes(request);
      const asked = { ...request, Ref: request.Ref || randomUUID() };
      const owner = identityKey(authority.identity);
      const { log, ended, failed } = beginBuild(deps, owner, asked);
      try {
        const answer = await deps.host.builds.run({ id: asked.Ref, owner }, context.signal, (signal) =>
          build(deps, { request: asked, context, authority, log, signal }),
        );
        ended(answer);
        return { ExporterResponse: answer.response };
      } catch (err) {
        throw failed(err);
      }
    },
  };
}

interface BuildParts {
  request: SolveRequest;
  context: HandlerContext;
  authority: Authority;
  log: BuildLog;
  signal: AbortSignal;
}

async function build(deps: SolveDeps, parts: BuildParts) {
  const { host, gateways } = deps;
  const { context, authority, log, signal } = parts;
  const { Ref: ref, Internal } = parts.request;
  const { wishes, rest: FrontendAttrs } = takeWishes(parts.request.FrontendAttrs);
  const request = { ...parts.request, FrontendAttrs };
  const outputs = outputsOf(request);
  const { provenance, sbom } = attestationsAsked(request.FrontendAttrs);
  const caches = cachesOf(request);
  const allow = grantedEntitlements(request.Entitlements, deps.entitlements, authority);
  const owner = identityKey(authority.identity);
  const from = sessionOf(host, request.Session, authority, signal);
  const open: OpenGateway = (gateway) => gateways.register(owner, ref, gateway);
  const built = await runBuild(
    host.engine,
    {
      frontend: frontendOf(request, open),
      verifyBy: wishes.verify ? withoutCache(request) : undefined,
      outputs: outputs.map(({ type, attrs, index, forgetsReplaced }) => ({
        forgetsReplaced,
        type,
        attrs,
        sink: from.named?.output(index),
      })),
      asked: {
        frontend: request.Frontend,
        options: request.FrontendAttrs,
        inputs: request.FrontendInputs,
      },
      origin: { file: request.FrontendAttrs.filename, context: request.FrontendAttrs.context },
      sourceDateEpoch: epochSeconds(request.FrontendAttrs['build-arg:SOURCE_DATE_EPOCH']),
      platform: request.FrontendAttrs.platform,
      allow,
      proxyNetwork: request.ProxyNetwork || undefined,
      offline: wishes.offline,
      dockerTypes: dockerTypesOf(request, outputs),
      rewrite: await sourceRewriteInTurns(
        request.SourcePolicy === undefined ? [] : [request.SourcePolicy],
        signal,
      ),
      ...(request.EnableSessionExporter && sessionExporter(from.named, outputs.length, open)),
      policyCheck: policyOf(host, request.SourcePolicySession, authority, signal),
      traceparent: context.requestHeader.get('traceparent') ?? undefined,
      workers: [await deps.worker()],
      frontends: deps.frontends,
      cacheFrom: caches.imports,
      cacheTo: caches.exports,
      provenance,
      sbom,
      recorded: !Internal,
      knownAs: buildIdOf(owner, ref),
    },
    from.session,
    log,
    signal,
  );
  host.events.emitBuilt(built.stored, owner);
  const end = endOf(built);
  if (built.size !== undefined && context.requestHeader.has(imageSizeKey))
    end.response[imageSizeKey] = String(built.size);
  return end;
}

/** The frontend that a request asks for. Throws `invalid` for a request with both a definition and a frontend. */
function frontendOf(request: SolveRequest, open: OpenGateway): Frontend {
  const { Definition: given, Frontend: name, FrontendAttrs: options, FrontendInputs: inputs } = request;
  if (name === '') return given === undefined ? client(open, inputs) : definition(given);
  if (given !== undefined && given.def.length > 0) throw bothGiven();
  return named(name, options, inputs);
}

/**
 * The same without the cache, for a build that is verified. Throws `unsupported` for a client that directs its build: it
 * cannot be asked to do so once more.
 */
function withoutCache({
  Definition: given,
  Frontend: name,
  FrontendAttrs,
  FrontendInputs,
}: SolveRequest): Frontend {
  if (name !== '') return named(name, { ...FrontendAttrs, 'no-cache': '' }, FrontendInputs);
  if (given !== undefined) return definition(ignoringCache(given));
  throw fail('unsupported', 'client', 'a build that the client directs itself cannot be verified', {
    hint: 'Use `drydock build --verify-reproducible`, with --host for this daemon, or `buildctl build --opt verify-reproducible=true`.',
  });
}

/** Lets the session choose exporters, once it has seen the result. Throws `invalid` when there is no session. */
function sessionExporter(
  session: ClientSession | undefined,
  outputs: number,
  open: OpenGateway,
): Pick<BuildRequest, 'furtherOutputs' | 'exported'> {
  if (session === undefined) {
    throw fail('invalid', 'session', 'EnableSessionExporter needs a session, and the request names none');
  }
  return {
    furtherOutputs: (bridge, result) =>
      withGateway(bridge, open, async (gateway) => {
        const chosen = await session.findExporters(result.metadata ?? {}, gateway.idsOf(result));
        return chosen.map(({ type, attrs }, i) => ({
          ...outputOf({ Type: type, Attrs: attrs }),
          sink: session.output(outputs + i),
        }));
      }),
    exported: ({ metadata: frontend }, metadata) =>
      session.finalizeExport(exporterResponse(metadata, frontend)),
  };
}

/** The policy of the session that decides on sources; undefined when the client names none. */
function policyOf(host: ApiHost, id: string, authority: Authority, signal: AbortSignal) {
  if (id === '') return undefined;
  const { checkPolicy } = namedSession(host.sessions, id, { signal, owner: identityKey(authority.identity) });
  return checkPolicy;
}

/** The client's session, or one that offers nothing when the client names none. */
function sessionOf(
  host: ApiHost,
  id: string,
  authority: Authority,
  signal: AbortSignal,
): { session: Session; named?: ClientSession } {
  const tenant = tenantOf(authority);
  if (id === '') return { session: { ...inProcessSession({ locals: {} }), tenant } };
  const named = namedSession(host.sessions, id, { signal, owner: identityKey(authority.identity), tenant });
  return { session: named, named };
}
