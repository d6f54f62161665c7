/**
 * LLBBridge for one frontend, which is a client or the process of an image: BuildKit's gateway.
 * https://github.com/moby/buildkit/blob/master/frontend/gateway/pb/gateway.proto
 */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import { fail, type SourceLocation } from '../../errors/index.ts';
import { bringFiles, type FsView } from '../../fs/index.ts';
import { sourceRewriteInTurns } from '../../llb/index.ts';
import type { Digest } from '../../oci/index.ts';
import {
  type ExecMessage,
  type LLBBridge,
  type ReadDirRequest,
  ReadDirResponseSchema,
  type ReadFileRequest,
  ReadFileResponseSchema,
  type ReturnRequest,
  type SolveRequest,
  type SolveResponse,
  SolveResponseSchema,
  type StatFileRequest,
  StatFileResponseSchema,
  type WarnRequest,
} from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import { inTurns } from '../../workers/index.ts';
import type { Bridge } from '../bridge/bridge.ts';
import type { BridgeResult } from '../bridge/types.ts';
import { checkOptionsSize } from '../frontends/options-size.ts';
import { pong } from './caps.ts';
import { Containers } from './containers.ts';
import { execProcess } from './exec-process.ts';
import { FrontendFailure } from './failure.ts';
import { readDir, statFile } from './files.ts';
import { readFile } from './read-file.ts';
import { RefTable } from './results.ts';
import { solveFailure } from './solve-failure.ts';
import { imageConfig, sourceMeta } from './sources.ts';

/**
 * The methods of LLBBridge, in the form that a service is made of. They throw errors as they are; the server encodes
 * them.
 */
export type GatewayService = Required<ServiceImpl<typeof LLBBridge>>;

/**
 * A gateway answers the calls of one frontend.
 *
 * It is made on a build's bridge before the frontend can reach it. The frontend solves, reads trees and runs containers
 * by calls, until it calls Return: `returned` is the result. `close` ends the containers that are left.
 */
export class Gateway {
  readonly bridge: Bridge;
  readonly service: GatewayService;
  readonly #inputs: Readonly<Record<string, Definition>>;
  readonly #refs = new RefTable();
  readonly #containers: Containers;
  readonly #returned = Promise.withResolvers<BridgeResult>();
  #isReturned = false;

  constructor(bridge: Bridge, inputs: Readonly<Record<string, Definition>> = {}) {
    this.bridge = bridge;
    this.#inputs = inputs;
    this.#containers = new Containers(bridge, this.#refs);
    this.#returned.promise.catch(() => {}); // whoever asks gets it
    this.service = this.#makeService();
  }

  /**
   * The result that the frontend returns. Rejects with FrontendFailure when the frontend returns an error, or with the
   * reason given to `giveUp`.
   */
  get returned(): Promise<BridgeResult> {
    return this.#returned.promise;
  }

  get isReturned(): boolean {
    return this.#isReturned;
  }

  /** The ids by which a client finds the trees of a result here. An empty tree has none. */
  idsOf({ ref, refs }: BridgeResult): string[] {
    return [...(refs?.values() ?? [ref])].flatMap((each) =>
      each === undefined ? [] : [this.#refs.add(each)],
    );
  }

  /** Says that the frontend will not return any more. */
  giveUp(reason: unknown): void {
    this.#isReturned = true;
    this.#returned.reject(reason);
  }

  /** Ends the containers that are left. It is called when the build is over. */
  close(): Promise<void> {
    return this.#containers.close();
  }

  #makeService(): GatewayService {
    const { bridge } = this;
    const containers = this.#containers;
    return {
      resolveImageConfig: (request) => imageConfig(bridge, request),
      resolveSourceMeta: (request) => sourceMeta(bridge, request),
      solve: (request) => this.#told(() => this.#solve(request)),
      readFile: async (request) => {
        const view = await this.#view(request.Ref);
        await bringFiles(view, [request.FilePath], { signal: bridge.job.signal });
        return answerRead(view, request);
      },
      readDir: async (request) => inTurns(answerReadDir(await this.#view(request.Ref), request)),
      statFile: async (request) => answerStat(await this.#view(request.Ref), request),
      evaluate: async ({ Ref }) => {
        await this.#told(async () => this.#refs.get(Ref)?.result());
        return {};
      },
      ping: () => pong(bridge.workers),
      return: (request) => this.#return(request),
      inputs: () => ({ Definitions: { ...this.#inputs } }),
      newContainer: async (request) => {
        await containers.add(request);
        return {};
      },
      releaseContainer: async ({ ContainerID }) => {
        await containers.release(ContainerID);
        return {};
      },
      execProcess: (messages: AsyncIterable<ExecMessage>, { signal }: HandlerContext) =>
        execProcess(messages, containers, signal),
      readFileContainer: async (request) =>
        create(ReadFileResponseSchema, {
          Data: await containers
            .get(request.Ref)
            .read(request.MountIndex, request.FilePath, rangeOf(request), bridge.job.signal),
        }),
      readDirContainer: async (request) =>
        inTurns(
          containers.get(request.Ref).looking(request.MountIndex, (view) => answerReadDir(view, request)),
        ),
      statFileContainer: async (request) =>
        containers.get(request.Ref).look(request.MountIndex, (view) => answerStat(view, request)),
      warn: async (request) => {
        this.#warn(request);
        return {};
      },
    };
  }

  async #view(id: string): Promise<FsView> {
    const ref = this.#refs.get(id);
    if (ref === undefined) throw fail('not-found', 'frontend', 'empty ref: it holds no files');
    return this.#told(() => ref.view());
  }

  /**
   * Does work. When the work fails, the failure tells of what the failed step left, so that the frontend can look at
   * it.
   */
  async #told<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (err) {
      throw this.tell(err);
    }
  }

  /** A failure with what the failed step left, under ids by which a client finds it here. */
  tell(err: unknown): unknown {
    return solveFailure(err, (ref) => this.#refs.add(this.bridge.held(ref)));
  }

  async #solve(request: SolveRequest): Promise<SolveResponse> {
    checkOptionsSize(request.FrontendOpt);
    const result = await this.bridge.solve({
      definition: request.Definition,
      frontend: request.Frontend,
      options: request.FrontendOpt,
      inputs: request.FrontendInputs,
      rewrite: await sourceRewriteInTurns(request.SourcePolicies, this.bridge.job.signal),
      evaluate: request.Evaluate,
      cacheImports: request.CacheImports.map(({ Type, Attrs }) => ({ type: Type, attrs: Attrs })),
    });
    if (result.refs !== undefined && !request.allowResultReturn) {
      throw fail('unsupported', 'frontend', 'solve did not return default result');
    }
    const message = this.#refs.message(result, request.allowResultArrayRef);
    if (request.Final) this.#final(result, request.ExporterAttr);
    const ref =
      request.allowResultReturn || message.result.case === undefined
        ? ''
        : message.result.case === 'ref'
          ? message.result.value.id
          : message.result.case === 'refDeprecated'
            ? message.result.value
            : '';
    return create(SolveResponseSchema, { ref, result: message });
  }

  /** Takes the last solve as the result, for clients from before `Return` existed. */
  #final(result: BridgeResult, attributes: Uint8Array): void {
    const extra: Record<string, Uint8Array> = {};
    if (attributes.length > 0) {
      const parsed = JSON.parse(Buffer.from(attributes).toString('utf8')) as Record<string, string>;
      for (const [name, text] of Object.entries(parsed)) extra[name] = Buffer.from(text, 'base64');
    }
    this.#settle({ ...result, metadata: { ...extra, ...result.metadata } });
  }

  async #return({ result, error }: ReturnRequest): Promise<object> {
    if (this.#isReturned) throw fail('conflict', 'frontend', 'gateway result is already set');
    if (error !== undefined) {
      this.giveUp(new FrontendFailure(error));
      return {};
    }
    if (result === undefined) {
      throw fail('invalid', 'frontend', 'gateway return must be either result or err');
    }
    this.#settle(this.#refs.result(result));
    return {};
  }

  #settle(result: BridgeResult): void {
    this.#isReturned = true;
    this.#returned.resolve(result);
  }

  #warn({ digest, level, short, detail, url, info, ranges }: WarnRequest): void {
    const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8');
    const source: SourceLocation | undefined = info && {
      filename: info.filename,
      text: text(info.data),
      ranges: ranges.map(({ start, end }) => ({
        start: { line: start?.line ?? 0, character: start?.character ?? 0 },
        end: { line: end?.line ?? start?.line ?? 0, character: end?.character ?? 0 },
      })),
    };
    this.bridge.warn(digest as Digest, {
      level: Number(level),
      short: text(short),
      detail: detail.map(text),
      url: url || undefined,
      source,
    });
  }
}

function answerRead(view: FsView, request: ReadFileRequest) {
  return create(ReadFileResponseSchema, { Data: readFile(view, request.FilePath, rangeOf(request)) });
}

function rangeOf({ Range }: ReadFileRequest) {
  return Range && { offset: Number(Range.Offset), length: Number(Range.Length) };
}

function* answerReadDir(view: FsView, { DirPath, IncludePattern }: ReadDirRequest) {
  return create(ReadDirResponseSchema, { entries: yield* readDir(view, DirPath, IncludePattern) });
}

function answerStat(view: FsView, { Path }: StatFileRequest) {
  return create(StatFileResponseSchema, { stat: statFile(view, Path) });
}
