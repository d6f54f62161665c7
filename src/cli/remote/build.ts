/** `drydock build` at a daemon: this side's folders, outputs and secrets are offered in a session. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { createClient } from '@connectrpc/connect';
import { formatProvenance, formatSbom } from '../../attest/index.ts';
import {
  type BuildOptions,
  type BuildResult,
  isImageOutput,
  type OutputSpec,
  warningEvent,
  wishOptions,
} from '../../engine/index.ts';
import { type DockerfileRequest, type LintWarning, optionsOf } from '../../frontend/index.ts';
import { type Descriptor, type Digest, digestOf, normalizeName } from '../../oci/index.ts';
import { LLBBridge } from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import type { ProgressSink } from '../../progress/index.ts';
import { imageSizeKey } from '../../records/index.ts';
import { type CacheSpec, withLentKeys } from '../../remote-cache/index.ts';
import {
  type InProcessOptions,
  inProcessSession,
  type OutputTarget,
  SessionServer,
  sharedKeyOf,
} from '../../session/index.ts';
import type { DebugInspector } from '../debug/inspector.ts';
import { answerOf, lintFindings } from './check.ts';
import type { Endpoint } from './endpoint.ts';
import { LayoutOutput, servedLayouts } from './layouts.ts';
import type { SolveInspector } from './linked.ts';
import { type OwnFrontend, solveAt } from './solve.ts';

/**
 * Builds at a daemon. Rejects with the build's failure there, with the place in the Dockerfile; with `canceled` when
 * the signal fires.
 *
 *     await remoteBuild(endpoint, options, { locals: { context: '/src' } }, printer, signal);
 */
export async function remoteBuild(
  endpoint: Endpoint,
  options: BuildOptions,
  offered: InProcessOptions,
  sink: ProgressSink,
  signal: AbortSignal,
  looks: RemoteLooks = {},
): Promise<BuildResult> {
  const served = await serve(options, offered.locals);
  const linked = await Promise.all(
    Object.entries(options.linked ?? {}).map(
      async ([name, each]) => [name, await serve(each, offered.locals)] as const,
    ),
  );
  const all = [served, ...linked.map(([, each]) => each)];
  const layoutOutput = new LayoutOutput(options.outputs, options.tags);
  const locals: Record<string, string> = Object.assign({}, offered.locals, ...all.map((each) => each.locals));
  const request: BuildOptions = {
    ...options,
    ...served.request,
    cacheFrom: await withLentKeys(options.cacheFrom ?? []),
    cacheTo: await withLentKeys(options.cacheTo ?? []),
    linked: options.linked && Object.fromEntries(linked.map(([name, each]) => [name, each.request])),
  };
  const stores = Object.assign({}, offered.stores, ...all.map((each) => each.stores), layoutOutput.stores);
  const session = inProcessSession({ ...offered, locals, stores });
  const server = new SessionServer({
    session,
    outputs: targetsOf(options.outputs),
    name: 'drydock',
    sharedKey: locals.context === undefined ? '' : sharedKeyOf(locals.context),
  });
  try {
    await server.open({ headers: endpoint.headers, createConnection: () => endpoint.dial('http/1.1') });
    const { inspector, directed, ref } = looks;
    const isDirected = options.linked !== undefined || inspector !== undefined;
    const work =
      options.subrequest !== undefined
        ? ask
        : options.check
          ? check
          : directed
            ? direct(directed)
            : isDirected
              ? solveLinked
              : solve;
    const result = await work({
      endpoint,
      options: request,
      session: server.id,
      sink,
      signal,
      inspector,
      ref,
    });
    await layoutOutput.finish(result);
    return result;
  } finally {
    server.close();
    await session.close();
    for (const { temporary } of all)
      if (temporary !== undefined) await rm(temporary, { recursive: true, force: true });
  }
}

/** How a build is looked into. */
interface RemoteLooks {
  inspector?: DebugInspector;
  /** The build's reference; default one of its own. */
  ref?: string;
  /** Makes the build by calls of its own; there is no result then. */
  directed?(own: OwnFrontend, options: BuildOptions): Promise<void>;
}

/** A build whose session is open at a daemon. */
interface OpenBuild extends Pick<RemoteLooks, 'inspector' | 'ref'> {
  endpoint: Endpoint;
  options: BuildOptions;
  /** The session's ID. */
  session: string;
  sink: ProgressSink;
  signal: AbortSignal;
}

/** A request whose Dockerfile and layouts the session serves, and what it serves for that. */
interface Served {
  request: DockerfileRequest;
  locals: Record<string, string>;
  stores: Record<string, string>;
  /** The folder of a Dockerfile that is a text. */
  temporary?: string;
}

async function serve(asked: DockerfileRequest, locals: InProcessOptions['locals']): Promise<Served> {
  const { contexts, stores } = await servedLayouts(asked.namedContexts, locals);
  const request: DockerfileRequest = { ...asked, namedContexts: contexts };
  if (asked.dockerfileText === undefined) return { request, locals: {}, stores };
  const temporary = await textFolder(asked.dockerfileText);
  // The daemon keeps what was sent by this name, and finds the same text again.
  const name = `dockerfile-${digestOf(asked.dockerfileText).slice('sha256:'.length, 19)}`;
  return {
    request: { ...request, dockerfile: 'Dockerfile', dockerfileText: undefined, dockerfileLocal: name },
    locals: { [name]: temporary },
    stores,
    temporary,
  };
}

/**
 * Solves a build that this side directs, as buildx does: one whose contexts are results of others, which are asked for
 * first, or one that is looked into.
 */
async function solveLinked(build: OpenBuild): Promise<BuildResult> {
  const { endpoint, options, session, sink, signal, inspector, ref: Ref } = build;
  const { linkedSolve } = await import('./linked.ts');
  const { Frontend: _, FrontendAttrs, FrontendInputs: __, ...request } = requestOf(options, session);
  const own = Object.fromEntries(
    Object.entries(FrontendAttrs).filter(([name]) => name.startsWith('attest:')),
  );
  const { response, warnings } = await solveAt(
    endpoint,
    // The daemon reads no more of them than `own`; its record has them all, as of buildx.
    { ...request, Ref, FrontendAttrs: { filename: 'Dockerfile', ...FrontendAttrs } },
    sink,
    signal,
    (frontend) => linkedSolve(frontend, options, own, inspectorAt(inspector)),
  );
  return resultOf(response, warnings);
}

/** Makes a build by the calls of `directed` alone. */
function direct(directed: NonNullable<RemoteLooks['directed']>) {
  return async ({ endpoint, options, session, sink, signal }: OpenBuild): Promise<BuildResult> => {
    const { Entitlements, SourcePolicy, ProxyNetwork, Cache } = requestOf(options, session);
    const request = { Session: session, Entitlements, SourcePolicy, ProxyNetwork, Cache };
    await solveAt(endpoint, request, sink, signal, async (own) => {
      await directed(own, options);
      await createClient(LLBBridge, own.transport).return({ result: {} }, own.call);
    });
    return { metadata: {}, warnings: [] };
  };
}

/** What a build that this side directs is looked into by. */
function inspectorAt(inspector: DebugInspector | undefined): SolveInspector | undefined {
  return (
    inspector && {
      failed: async (failure, frontend) =>
        inspector.failed({ ...failure, error: await frontend.told(failure.error) }, frontend),
      ...(inspector.wantsResult && { made: (result, frontend) => inspector.made(result, frontend) }),
    }
  );
}

async function solve(build: OpenBuild): Promise<BuildResult> {
  const { endpoint, options, session, sink, signal, ref: Ref } = build;
  const request = { ...requestOf(options, session), Ref };
  const { response, warnings } = await solveAt(endpoint, request, sink, signal);
  return resultOf(response, warnings);
}

function requestOf(options: BuildOptions, session: string) {
  const { options: attrs, inputs } = optionsOf(options);
  return {
    Session: session,
    Frontend: 'dockerfile.v0',
    FrontendAttrs: {
      ...attrs,
      ...attestAttrs(options),
      ...(options.verifyReproducible && { [wishOptions.verify]: '' }),
      ...(options.offline && { [wishOptions.offline]: '' }),
    },
    FrontendInputs: inputs,
    Entitlements: options.allow,
    SourcePolicy: options.sourcePolicy,
    ProxyNetwork: options.proxyNetwork ?? false,
    Exporters: exportersOf(options),
    Cache: { Imports: cachesOf(options.cacheFrom), Exports: cachesOf(options.cacheTo) },
  };
}

function attestAttrs({ provenance, sbom }: BuildOptions): Record<string, string> {
  const none = 'disabled=true';
  const attrs: Record<string, string> = {};
  if (provenance !== undefined) attrs['attest:provenance'] = provenance ? formatProvenance(provenance) : none;
  if (sbom !== undefined) attrs['attest:sbom'] = sbom ? formatSbom(sbom) : none;
  return attrs;
}

/** Makes a build of which only the frontend is asked something, through the gateway of a Solve that makes nothing. */
function asking(
  question: (
    own: OwnFrontend,
    asked: Parameters<typeof answerOf>[1],
    sink: ProgressSink,
  ) => Promise<Pick<BuildResult, 'answer' | 'warnings'>>,
) {
  return async ({ endpoint, options, session, sink, signal }: OpenBuild): Promise<BuildResult> => {
    const { options: attrs, inputs } = optionsOf(options);
    const request = { Session: session, Entitlements: options.allow };
    let told: Pick<BuildResult, 'answer' | 'warnings'> = { warnings: [] };
    await solveAt(endpoint, request, sink, signal, async (own) => {
      told = await question(own, { FrontendOpt: attrs, FrontendInputs: inputs }, sink);
    });
    return { metadata: {}, ...told };
  };
}

const check = asking(async (own, asked, sink) => ({
  warnings: await lintFindings(own, asked, (warning) => sink.warning(warningEvent(warning))),
}));

/** The frontend answers a question, as buildx asks it. */
const ask = asking(async (own, asked) => ({ answer: await answerOf(own, asked), warnings: [] }));

async function textFolder(text: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'drydock-dockerfile-'));
  await writeFile(join(dir, 'Dockerfile'), text);
  return dir;
}

/** The exporters of a request; without an output, an image that the tags name. */
function exportersOf({ outputs, tags }: BuildOptions): { Type: string; Attrs: Record<string, string> }[] {
  const all: OutputSpec[] = outputs.length > 0 ? outputs : [{ type: 'image', attrs: {} }];
  const name = tags.map(normalizeName).join(',');
  return all.map(({ type, attrs }) => ({
    // As docker's own clients: the daemon keeps an image whose name goes to the new one.
    Type: type === 'image' ? 'moby' : type,
    Attrs: {
      ...(name === '' || !isImageOutput({ type }) ? {} : { name }),
      ...attrs,
    },
  }));
}

function cachesOf(specs: readonly CacheSpec[] = []): { Type: string; Attrs: Record<string, string> }[] {
  return specs.map(({ type, attrs }) => ({ Type: type, Attrs: { ...attrs } }));
}

function targetsOf(outputs: readonly OutputSpec[]): Map<number, OutputTarget> {
  const targets = new Map<number, OutputTarget>();
  for (const [index, { sink, attrs }] of outputs.entries()) {
    if (sink === undefined) continue;
    if ('files' in sink && typeof sink.files === 'string') {
      targets.set(index, { dir: sink.files, remove: attrs.mode === 'delete' });
    } else if ('tar' in sink)
      targets.set(index, { file: async (metadata) => (await sink.tar(metadata)) as Writable });
  }
  return targets;
}

function resultOf(response: Record<string, string>, warnings: LintWarning[]): BuildResult {
  const metadata: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(response)) {
    if (name === imageSizeKey) continue;
    metadata[name] = name === 'containerimage.descriptor' ? decoded(value) : value;
  }
  const size = Number(response[imageSizeKey]);
  return {
    imageId: response['containerimage.config.digest'] as Digest | undefined,
    descriptor: metadata['containerimage.descriptor'] as Descriptor | undefined,
    metadata,
    warnings,
    size: Number.isNaN(size) ? undefined : size,
  };
}

function decoded(base64: string): unknown {
  try {
    return JSON.parse(Buffer.from(base64, 'base64').toString('utf8'));
  } catch {
    return undefined;
  }
}
