/** `drydock build` at a daemon: Control.Solve and Status, with our folders, outputs and secrets offered in a session. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { optionsOf } from '../../build/bridge/forward.ts';
import type { BuildOptions, BuildResult, OutputSpec } from '../../build/types.ts';
import { canceled, DrydockError, type ErrorCode, fail, type SourceLocation } from '../../errors/error.ts';
import type { LintWarning } from '../../frontend/types.ts';
import { normalizeName } from '../../oci/reference.ts';
import type { Descriptor, Digest } from '../../oci/types.ts';
import { Control } from '../../pb/moby/buildkit/v1/control_pb.js';
import { type InProcessOptions, inProcessSession } from '../../session/in-process.ts';
import type { OutputTarget } from '../../session/serve/file-services.ts';
import { SessionServer } from '../../session/serve/session-server.ts';
import { sharedKeyOf } from '../../session/serve/shared-key.ts';
import type { ProgressSink } from '../../solver/progress.ts';
import { type Endpoint, unreachable } from './endpoint.ts';
import { findingsOf, replay } from './progress.ts';

/**
 * Builds at a daemon. Rejects with what the build failed with there, place in the Dockerfile included; `canceled` when
 * the signal fires; `unsupported` for what only a build in process has.
 */
export async function remoteBuild(
  endpoint: Endpoint,
  options: BuildOptions,
  offered: InProcessOptions,
  sink: ProgressSink,
  signal: AbortSignal,
): Promise<BuildResult> {
  refuse(options);
  const temporary =
    options.dockerfileText === undefined ? undefined : await textFolder(options.dockerfileText);
  const locals: Record<string, string> = {
    ...offered.locals,
    ...(temporary && { 'dockerfile-text': temporary }),
  };
  const request =
    temporary === undefined
      ? options
      : {
          ...options,
          dockerfile: 'Dockerfile',
          dockerfileText: undefined,
          dockerfileLocal: 'dockerfile-text',
        };
  const session = inProcessSession({ ...offered, locals });
  const server = new SessionServer({
    session,
    outputs: targetsOf(options.outputs),
    name: 'drydock',
    sharedKey: locals.context === undefined ? '' : sharedKeyOf(locals.context),
  });
  try {
    await server.open({ headers: endpoint.headers, createConnection: () => endpoint.dial('http/1.1') });
    return await solve(endpoint, request, server.id, sink, signal);
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
  const control = createClient(
    Control,
    createGrpcTransport({
      baseUrl: 'http://localhost',
      nodeOptions: { createConnection: () => endpoint.dial('h2') },
    }),
  );
  const ref = randomUUID();
  const over = new AbortController();
  const call = { headers: endpoint.headers, signal: AbortSignal.any([signal, over.signal]) };
  const { options: attrs, inputs } = optionsOf(options);
  const warnings: LintWarning[] = [];
  const watching = (async () => {
    for await (const message of control.status({ Ref: ref }, call)) {
      replay(message, sink);
      warnings.push(...findingsOf(message));
    }
  })();
  watching.catch(() => {});
  try {
    const { ExporterResponse } = await control.solve(
      {
        Ref: ref,
        Session: session,
        Frontend: 'dockerfile.v0',
        FrontendAttrs: attrs,
        FrontendInputs: inputs,
        Entitlements: options.allow,
        Exporters: exportersOf(options),
      },
      call,
    );
    await watching.catch(() => {});
    return resultOf(ExporterResponse, warnings);
  } catch (err) {
    // What it still has to say of the failed step comes before the error.
    await Promise.race([watching.catch(() => {}), new Promise((done) => setTimeout(done, 1000))]);
    if (signal.aborted) throw canceled(signal.reason);
    throw failureOf(endpoint, ConnectError.from(err));
  } finally {
    over.abort();
  }
}

function refuse(options: BuildOptions): void {
  if (options.check) {
    throw fail('unsupported', 'client', '--check is done in process, not at a daemon', {
      hint: 'Leave out --host and DRYDOCK_HOST for it: `env -u DRYDOCK_HOST drydock build --check …`.',
    });
  }
  const layout = Object.values(options.namedContexts).find((value) => value.startsWith('oci-layout://'));
  if (layout !== undefined) {
    throw fail('unsupported', 'client', 'OCI layouts are not sent to a daemon yet', {
      hint: 'Push the image or `drydock load` it there, and name it with docker-image://.',
    });
  }
}

async function textFolder(text: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'drydock-dockerfile-'));
  await writeFile(join(dir, 'Dockerfile'), text);
  return dir;
}

/** Without an output: an image, named by the tags. */
function exportersOf({ outputs, tags }: BuildOptions): { Type: string; Attrs: Record<string, string> }[] {
  const all: OutputSpec[] = outputs.length > 0 ? outputs : [{ type: 'image', attrs: {} }];
  const name = tags.map(normalizeName).join(',');
  return all.map(({ type, attrs }) => ({
    Type: type,
    Attrs: name === '' || attrs.name !== undefined ? attrs : { ...attrs, name },
  }));
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
    metadata[name] = name === 'containerimage.descriptor' ? decoded(value) : value;
  }
  const size = Number(response['drydock.image.size']);
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

const codes: Partial<Record<Code, ErrorCode>> = {
  [Code.Canceled]: 'canceled',
  [Code.InvalidArgument]: 'invalid',
  [Code.NotFound]: 'not-found',
  [Code.AlreadyExists]: 'exists',
  [Code.PermissionDenied]: 'denied',
  [Code.Unauthenticated]: 'unauthenticated',
  [Code.Unimplemented]: 'unsupported',
  [Code.Unavailable]: 'unavailable',
  [Code.ResourceExhausted]: 'exhausted',
};

/** The daemon's error as one of ours: message, hint, and the lines of the Dockerfile. */
function failureOf(endpoint: Endpoint, err: ConnectError): DrydockError {
  if (err.cause instanceof Error && 'syscall' in err.cause) return unreachable(endpoint, err.cause);
  const lines = err.rawMessage.split('\n');
  const hint = lines.find((line) => line.startsWith('hint: '))?.slice(6);
  const message = lines.filter((line) => !/^(hint|at hop): /.test(line)).join('\n');
  const error = new DrydockError(message, { code: codes[err.code] ?? 'failed', hint });
  for (const detail of err.details) {
    if ('desc' in detail) continue;
    const value = decodedJson(detail.value);
    if (detail.type.endsWith('gatewayapi.ExitMessage+json')) error.exitCode = Number(value?.Code ?? 0);
    if (detail.type.endsWith('errdefs.Source+json')) error.source = sourceOf(value);
  }
  return error;
}

function decodedJson(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8')) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

function sourceOf(value: Record<string, unknown> | undefined): SourceLocation | undefined {
  const { info, ranges } = (value ?? {}) as {
    info?: { filename?: string; data?: string };
    ranges?: SourceLocation['ranges'];
  };
  if (info?.filename === undefined || !Array.isArray(ranges)) return undefined;
  return { filename: info.filename, text: Buffer.from(info.data ?? '', 'base64').toString('utf8'), ranges };
}
