/** `drydock build` at a daemon: this side's folders, outputs and secrets are offered in a session. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { imageSizeKey } from '../../api/index.ts';
import { formatProvenance, formatSbom } from '../../attest/index.ts';
import { type BuildOptions, type BuildResult, type OutputSpec, warningEvent } from '../../engine/index.ts';
import { type LintWarning, optionsOf } from '../../frontend/index.ts';
import { type Descriptor, type Digest, normalizeName } from '../../oci/index.ts';
import type { ProgressSink } from '../../progress/index.ts';
import type { CacheSpec } from '../../remote-cache/index.ts';
import {
  type InProcessOptions,
  inProcessSession,
  type OutputTarget,
  SessionServer,
  sharedKeyOf,
} from '../../session/index.ts';
import { lintFindings } from './check.ts';
import type { Endpoint } from './endpoint.ts';
import { LayoutOutput, servedLayouts } from './layouts.ts';
import { solveAt } from './solve.ts';

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
): Promise<BuildResult> {
  const layouts = await servedLayouts(options.namedContexts, offered.locals);
  const layoutOutput = new LayoutOutput(options.outputs, options.tags);
  const temporary =
    options.dockerfileText === undefined ? undefined : await textFolder(options.dockerfileText);
  const locals: Record<string, string> = {
    ...offered.locals,
    ...(temporary && { 'dockerfile-text': temporary }),
  };
  const request: BuildOptions = { ...options, namedContexts: layouts.contexts };
  if (temporary !== undefined) {
    request.dockerfile = 'Dockerfile';
    request.dockerfileText = undefined;
    request.dockerfileLocal = 'dockerfile-text';
  }
  const stores = { ...offered.stores, ...layouts.stores, ...layoutOutput.stores };
  const session = inProcessSession({ ...offered, locals, stores });
  const server = new SessionServer({
    session,
    outputs: targetsOf(options.outputs),
    name: 'drydock',
    sharedKey: locals.context === undefined ? '' : sharedKeyOf(locals.context),
  });
  try {
    await server.open({ headers: endpoint.headers, createConnection: () => endpoint.dial('http/1.1') });
    const work = options.check ? check : solve;
    const result = await work(endpoint, request, server.id, sink, signal);
    await layoutOutput.finish(result);
    return result;
  } finally {
    server.close();
    await session.close();
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true });
  }
}

async function solve(
  endpoint: Endpoint,
  options: BuildOptions,
  session: string,
  sink: ProgressSink,
  signal: AbortSignal,
): Promise<BuildResult> {
  const { options: attrs, inputs } = optionsOf(options);
  const request = {
    Session: session,
    Frontend: 'dockerfile.v0',
    FrontendAttrs: { ...attrs, ...attestAttrs(options) },
    FrontendInputs: inputs,
    Entitlements: options.allow,
    SourcePolicy: options.sourcePolicy,
    ProxyNetwork: options.proxyNetwork ?? false,
    Exporters: exportersOf(options),
    Cache: { Imports: cachesOf(options.cacheFrom), Exports: cachesOf(options.cacheTo) },
  };
  const { response, warnings } = await solveAt(endpoint, request, sink, signal);
  return resultOf(response, warnings);
}

function attestAttrs({ provenance, sbom }: BuildOptions): Record<string, string> {
  const none = 'disabled=true';
  const attrs: Record<string, string> = {};
  if (provenance !== undefined) attrs['attest:provenance'] = provenance ? formatProvenance(provenance) : none;
  if (sbom !== undefined) attrs['attest:sbom'] = sbom ? formatSbom(sbom) : none;
  return attrs;
}

async function check(
  endpoint: Endpoint,
  options: BuildOptions,
  session: string,
  sink: ProgressSink,
  signal: AbortSignal,
): Promise<BuildResult> {
  const { options: attrs, inputs } = optionsOf(options);
  let warnings: LintWarning[] = [];
  const request = { Session: session, Entitlements: options.allow };
  await solveAt(endpoint, request, sink, signal, async (own) => {
    warnings = await lintFindings(own, { FrontendOpt: attrs, FrontendInputs: inputs }, (warning) =>
      sink.warning(warningEvent(warning)),
    );
  });
  return { metadata: {}, warnings };
}

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
      ...(name === '' || !['image', 'oci', 'docker'].includes(type) ? {} : { name }),
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
