/**
 * The frontend `gateway.v0`: an image whose process is the frontend. The process speaks LLBBridge over its stdin and
 * stdout and finds its options in its environment, as BuildKit's frontend images expect.
 */

import { randomUUID } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Duplex, PassThrough } from 'node:stream';
import { create, toBinary } from '@bufbuild/protobuf';
import { DrydockError, fail, toDrydockError } from '../../errors/index.ts';
import { type ExecEnd, type ExecSpec, shortageHint, shortageText } from '../../executor/index.ts';
import { dockerfileRequest } from '../../frontend/index.ts';
import { image, marshal } from '../../llb/index.ts';
import { hostPlatform, type ImageConfig, normalizeName, pullPolicyOf } from '../../oci/index.ts';
import { execSpec, PreparedMounts } from '../../ops/index.ts';
import { type Definition, DefinitionSchema, MountSchema } from '../../pb/solver/pb/ops_pb.js';
import type { VertexProgress } from '../../progress/index.ts';
import type { WorkContext } from '../../solver/index.ts';
import { resolveImageConfig } from '../../source/index.ts';
import { parseBool } from '../../words/index.ts';
import type { Bridge } from '../bridge/bridge.ts';
import { imageAfter } from '../bridge/image-policy.ts';
import type { BridgeRef } from '../bridge/ref.ts';
import type { BridgeRequest, BridgeResult, NamedFrontend } from '../bridge/types.ts';
import { frontendEnvironment } from './environment.ts';
import { Gateway } from './gateway.ts';
import { networkUnder } from './proxied.ts';
import { serveGateway } from './serve.ts';

/** How many lines of a frontend's stderr its failure shows. */
const tailLines = 10;

/**
 * Runs the frontend image that the option `source` names. Throws `invalid` without that option, and the frontend's own
 * failure.
 */
export const gatewayV0: NamedFrontend = async (bridge, request) => {
  const { source } = request.options;
  if (!source) throw fail('invalid', 'frontend', 'no source specified for gateway');
  const { ref, config } = await frontendImage(bridge, request, source);
  checkCaps(config, request);
  return bridge.job.inVertex(`[frontend] ${source}`, (progress) =>
    runFrontend(bridge, request, ref, config, progress),
  );
};

interface FrontendImage {
  ref: BridgeRef;
  config: ImageConfig;
}

/** The frontend's image, or the named context that stands for it. */
async function frontendImage(bridge: Bridge, request: BridgeRequest, source: string): Promise<FrontendImage> {
  const context = request.options[`context:${source}`];
  if (context?.startsWith('input:')) return inputImage(bridge, request, context.slice('input:'.length));
  const named = context?.startsWith('docker-image:') ? context.replace(/^docker-image:(\/\/)?/, '') : source;
  const { engine, job, lease } = bridge;
  const name = await imageAfter(bridge.rules, normalizeName(named));
  const resolved = await job.inVertex(`resolve image config for docker-image://${name}`, () =>
    resolveImageConfig(engine, name, {
      platform: hostPlatform(),
      pull: pullPolicyOf(request.options['image-resolve-mode']) ?? 'missing',
      lease,
      session: job.session,
      signal: job.signal,
    }),
  );
  const ref = bridge.ref(marshal(image(resolved.ref)));
  if (ref === undefined) throw fail('internal', 'frontend', `${name} has no definition`);
  return { ref, config: resolved.config };
}

function inputImage(bridge: Bridge, request: BridgeRequest, name: string): FrontendImage {
  const input = dockerfileRequest({ options: request.options, inputs: request.inputs }).inputs?.[name];
  const ref = input && bridge.ref(request.inputs[name]);
  if (ref === undefined) throw fail('invalid', 'frontend', `invalid input ${name} for the frontend`);
  return {
    ref,
    config: input?.config ?? { os: 'linux', architecture: '', rootfs: { type: 'layers', diff_ids: [] } },
  };
}

/** Throws `unsupported` when the client asks for more than the image's label promises. */
function checkCaps(config: ImageConfig, { options, inputs }: BridgeRequest): void {
  const names = (list: string | undefined) =>
    (list ?? '')
      .split(',')
      .map((item) => item.split('+', 1)[0] ?? '')
      .filter((name) => name !== '');
  const has = new Set(names(config.config?.Labels?.['moby.buildkit.frontend.caps']));
  const needs = names(options['frontend.caps']);
  if (Object.keys(inputs).length > 0) needs.push('moby.buildkit.frontend.inputs');
  const missing = needs.find((name) => !has.has(name));
  if (missing === undefined) return;
  throw fail('unsupported', 'frontend', `unsupported frontend capability ${missing}`, {
    hint: "The frontend's image says what it can do in its label moby.buildkit.frontend.caps.",
    details: { frontendCapability: missing },
  });
}

async function runFrontend(
  bridge: Bridge,
  request: BridgeRequest,
  ref: BridgeRef,
  config: ImageConfig,
  progress: VertexProgress,
): Promise<BridgeResult> {
  const { engine, job, lease } = bridge;
  const stopped = new AbortController();
  const context: WorkContext = {
    session: job.session,
    progress,
    signal: AbortSignal.any([job.signal, stopped.signal]),
    lease,
  };
  const mounts = new PreparedMounts(engine, context);
  const gateway = new Gateway(bridge, request.inputs);
  const metadata = new MetadataFolder(engine.store.runDir, ref.definition);
  const log = new Tail(progress);
  const input = new PassThrough();
  const connection = new FrontendConnection(input);
  try {
    const root = create(MountSchema, { dest: '/', input: 0n, output: -1n });
    await mounts.prepare([root], [await ref.result()]);
    if (mounts.root === undefined) throw fail('internal', 'frontend', 'the frontend has no root');
    const spec = specOf(bridge, request, config, mounts.root, metadata.dir);
    const io = {
      stdin: input,
      stdout: (chunk: Buffer) => connection.receive(chunk),
      stderr: (chunk: Buffer) => log.write(chunk),
    };
    void serveGateway(gateway, connection);
    // It is left to end by itself: Return's answer is still on its way when we know the result.
    const end = await engine.executor.run(spec, io, context.signal);
    await end.cleared;
    connection.receive(null);
    const failed = crashed(request.options.source ?? '', end, log.lines());
    if (!gateway.isReturned) throw failed;
    // An error that it returned says more than its exit code; a result does not count when it failed after all.
    const result = await gateway.returned;
    if (end.exitCode !== 0) throw failed;
    return result;
  } catch (err) {
    throw toDrydockError(err, 'frontend');
  } finally {
    stopped.abort(new Error('the frontend is done'));
    connection.destroy();
    await gateway.close();
    await mounts.release();
    metadata.remove();
  }
}

function crashed(source: string, { exitCode, shortage }: ExecEnd, logTail: string[]): DrydockError {
  const why = shortage === undefined ? '' : `: cannot allocate memory (${shortageText(shortage)})`;
  const message =
    exitCode === 0
      ? `the frontend ${source} ended without a result`
      : `the frontend ${source} did not complete successfully: exit code: ${exitCode}${why}`;
  const hint = shortage && shortageHint(shortage);
  return new DrydockError(message, { code: 'failed', hop: 'frontend', exitCode, logTail, hint });
}

function specOf(
  bridge: Bridge,
  request: BridgeRequest,
  config: ImageConfig,
  root: NonNullable<PreparedMounts['root']>,
  metadataDir: string,
): ExecSpec {
  const container = config.config ?? {};
  const entrypoint = container.Entrypoint ?? [];
  const offline = parseBool(container.Labels?.['moby.buildkit.frontend.network.none'] ?? '') === true;
  const args = entrypoint.length > 0 ? entrypoint : ['/run'];
  return execSpec(
    'frontend',
    { args, cwd: container.WorkingDir ?? '' },
    {
      root,
      mounts: [
        {
          dest: '/run/config/buildkit/metadata',
          readonly: true,
          source: { type: 'host', path: metadataDir },
        },
      ],
      env: [...(container.Env ?? []), ...frontendEnvironment(bridge, request.options)],
      network: networkUnder(bridge.rules, offline ? 'none' : 'default', { variables: container.Env }),
      security: 'sandbox',
    },
  );
}

/** The folder in which a frontend finds its own definition. */
class MetadataFolder {
  readonly dir: string;

  constructor(runDir: string, definition: Definition) {
    this.dir = join(runDir, `frontend-${randomUUID()}`);
    mkdirSync(this.dir, { mode: 0o755 });
    writeFileSync(join(this.dir, 'frontend.bin'), toBinary(DefinitionSchema, definition), { mode: 0o444 });
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** A frontend's stdout and stdin as one connection. */
class FrontendConnection extends Duplex {
  readonly #input: PassThrough;
  #room: PromiseWithResolvers<void> | undefined;

  constructor(input: PassThrough) {
    super();
    this.#input = input;
    input.on('error', () => {});
  }

  /**
   * Takes bytes that the frontend wrote, or null for their end. The promise holds the frontend up until there is room.
   */
  receive(chunk: Buffer | null): void | Promise<void> {
    if (this.destroyed || this.push(chunk) || chunk === null) return;
    this.#room ??= Promise.withResolvers();
    return this.#room.promise;
  }

  override _read(): void {
    this.#room?.resolve();
    this.#room = undefined;
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (err?: Error | null) => void): void {
    if (this.#input.destroyed || this.#input.write(chunk)) done();
    else {
      const go = () => {
        this.#input.off('drain', go);
        this.#input.off('close', go);
        done();
      };
      this.#input.once('drain', go);
      this.#input.once('close', go);
    }
  }

  override _final(done: () => void): void {
    this.#input.end();
    done();
  }

  override _destroy(err: Error | null, done: (err?: Error | null) => void): void {
    this.#room?.resolve();
    this.#input.destroy();
    done(err);
  }
}

/** A frontend's stderr: it is shown as the vertex's log, and its last lines are kept for the error. */
class Tail {
  readonly #progress: VertexProgress;
  #text = '';

  constructor(progress: VertexProgress) {
    this.#progress = progress;
  }

  write(chunk: Buffer): void {
    this.#progress.log(2, chunk);
    this.#text = (this.#text + chunk.toString('utf8')).slice(-16384);
  }

  lines(): string[] {
    return this.#text.trimEnd().split('\n').slice(-tailLines);
  }
}
