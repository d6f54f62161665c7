/** One build as its frontends see it: solves, image lookups, warnings. BuildKit's `FrontendLLBBridge`. */
import { create } from '@bufbuild/protobuf';
import { DrydockError, fail, type SourceLocation } from '../../errors/error.ts';
import { nearest } from '../../errors/nearest.ts';
import { openView } from '../../fs/open.ts';
import { checkCaps } from '../../llb/caps.ts';
import { type Graph, loadGraphInTurns } from '../../llb/graph.ts';
import type { SourceRewrite } from '../../llb/source-policy.ts';
import type { Digest } from '../../oci/types.ts';
import type { WorkerRecord } from '../../pb/moby/buildkit/v1/types/worker_pb.js';
import { type Definition, DefinitionSchema, type SourceOp } from '../../pb/solver/pb/ops_pb.js';
import type { Job } from '../../solver/job.ts';
import { adoptLeftovers } from '../../solver/leftovers.ts';
import type { Ref } from '../../store/ref.ts';
import type { BuildCaches } from '../caches.ts';
import type { Engine } from '../engine.ts';
import { checkEntitlements } from '../entitlements.ts';
import { emptyIgnoredCaches } from '../fresh-caches.ts';
import { BridgeRef, type RefSolver } from './ref.ts';
import type { SourceJudge } from './source-judge.ts';
import type { BridgeRequest, BridgeResult } from './types.ts';

export interface BridgeOptions {
  engine: Engine;
  /** The build. Its owner releases it in the solver once it is over. */
  job: Job;
  /** Keeps what is looked up and unpacked for the build. */
  lease: string;
  /** What becomes of the sources that frontends name. */
  rewrite?: SourceRewrite;
  /** Makes the judge of what the client's own policy leaves of them. */
  judge?: (bridge: Bridge) => SourceJudge;
  /** What frontends are told of the workers there are. */
  workers?: readonly WorkerRecord[];
  /** Where frontends may have more caches read; default: nowhere. */
  caches?: Pick<BuildCaches, 'import'>;
}

/** A frontend by its name. */
export type BridgeFrontend = (bridge: Bridge, request: BridgeRequest) => Promise<BridgeResult>;

/** Frontends may name frontends; this deep at most. */
const maxDepth = 10;

export class Bridge {
  readonly engine: Engine;
  readonly job: Job;
  readonly lease: string;
  readonly allow: readonly string[];
  readonly rewrite: SourceRewrite | undefined;
  readonly judge: SourceJudge | undefined;
  readonly workers: readonly WorkerRecord[];
  readonly #caches: BridgeOptions['caches'];
  readonly #frontends: Readonly<Record<string, BridgeFrontend>>;
  #depth = 0;

  constructor(options: BridgeOptions, frontends: Readonly<Record<string, BridgeFrontend>>) {
    this.engine = options.engine;
    this.job = options.job;
    this.lease = options.lease;
    this.allow = options.job.allow;
    this.rewrite = options.rewrite;
    this.judge = options.judge?.(this);
    this.workers = options.workers ?? [];
    this.#caches = options.caches;
    this.#frontends = frontends;
    this.job.load = (definition) => this.#load(definition, this.rewrite);
  }

  /**
   * Solves a definition, or what a frontend makes of its options. Throws `invalid` for a request that has both or an
   * unknown frontend, and what the frontend throws; with `evaluate` also what solving throws.
   */
  async solve(request: BridgeRequest): Promise<BridgeResult> {
    const { definition, frontend } = request;
    this.#caches?.import(request.cacheImports ?? []);
    if (frontend !== '' && definition !== undefined && definition.def.length > 0) {
      throw fail('invalid', 'frontend', 'cannot solve with both Definition and Frontend specified');
    }
    const result =
      frontend === ''
        ? { ref: this.ref(definition, request.rewrite), metadata: {} }
        : await this.#callFrontend(frontend, request);
    if (request.evaluate) await Promise.all(refsOf(result).map((ref) => ref.result()));
    return result;
  }

  async #callFrontend(name: string, request: BridgeRequest): Promise<BridgeResult> {
    const call = Object.hasOwn(this.#frontends, name) ? this.#frontends[name] : undefined;
    if (call === undefined) {
      const names = Object.keys(this.#frontends);
      throw fail('invalid', 'frontend', `invalid frontend: ${name}`, {
        hint: `Did you mean ${nearest(name, names) ?? names.join(' or ')}?`,
      });
    }
    if (this.#depth >= maxDepth) {
      throw fail('invalid', 'frontend', `frontends call each other more than ${maxDepth} deep`);
    }
    this.#depth++;
    try {
      return await call(this, request);
    } finally {
      this.#depth--;
    }
  }

  /**
   * The tree that a definition stands for; undefined for the empty one. Nothing is solved yet. `rewrite` is applied to
   * its sources before the build's own.
   */
  ref(definition: Definition | undefined, rewrite?: SourceRewrite): BridgeRef | undefined {
    if (definition === undefined || definition.def.length === 0) return undefined;
    return new BridgeRef(definition, this.#refSolver(rewrite));
  }

  #refSolver(rewrite: SourceRewrite | undefined): RefSolver {
    return {
      solve: (def) => this.#solveDefinition(def, inTurn(rewrite, this.rewrite)),
      open: async (ref) =>
        openView(
          await ref.view({
            lease: this.lease,
            signal: this.job.signal,
            credentials: (host) => this.job.session.credentials(host),
          }),
        ),
    };
  }

  async #solveDefinition(definition: Definition, rewrite: SourceRewrite | undefined): Promise<Ref> {
    const { engine, job } = this;
    const graph = await this.#load(definition, rewrite);
    if (graph.output === undefined) return engine.refs.empty();
    await emptyIgnoredCaches(engine.store, job, graph.vertices);
    try {
      const [ref] = await engine.solver.solve(job, graph.vertices, [graph.output]);
      return ref ?? engine.refs.empty();
    } catch (err) {
      await adoptLeftovers(err, engine.store, this.lease);
      throw err;
    }
  }

  /** A tree that is there already. */
  held(ref: Ref): BridgeRef {
    return new BridgeRef(create(DefinitionSchema), { ...this.#refSolver(undefined), solve: async () => ref });
  }

  /** Reads a definition and holds it against what the build may do. */
  async #load(definition: Definition, rewrite: SourceRewrite | undefined): Promise<Graph> {
    const { signal } = this.job;
    const ruled = await loadGraphInTurns(definition, { rewrite, signal });
    const judged = this.judge === undefined ? undefined : await this.#judgeAll(ruled, this.judge);
    const graph =
      judged === undefined
        ? ruled
        : await loadGraphInTurns(definition, { rewrite: inTurn(rewrite, judged), signal });
    checkCaps(definition);
    checkEntitlements(graph, this.allow);
    const nested = graph.vertices.find(({ op }) => op.op.case === 'build');
    if ((rewrite !== undefined || this.judge !== undefined) && nested !== undefined) {
      // Its result may be cached from a build without the policy.
      throw fail(
        'unsupported',
        'llb',
        'a source policy cannot be held against a definition in a definition',
        {
          step: nested.name,
        },
      );
    }
    return graph;
  }

  /** What the client's policy makes of a graph's sources; undefined when they all stay as they are. */
  async #judgeAll(graph: Graph, judge: SourceJudge): Promise<SourceRewrite | undefined> {
    const after = new Map<string, SourceOp>();
    const nameOf = ({ identifier, attrs }: SourceOp) =>
      JSON.stringify([identifier, Object.entries(attrs).sort(([a], [b]) => (a < b ? -1 : 1))]);
    await Promise.all(
      graph.vertices.map(async ({ op: { op, platform }, name, source: location }) => {
        if (op.case !== 'source') return;
        try {
          const judged = await judge(op.value, platform);
          if (judged !== op.value) after.set(nameOf(op.value), judged);
        } catch (err) {
          if (err instanceof DrydockError) {
            err.step ??= name;
            err.source ??= location;
          }
          throw err;
        }
      }),
    );
    return after.size === 0 ? undefined : (source) => after.get(nameOf(source)) ?? source;
  }

  /** Shows a frontend's warning under a vertex. */
  warn(
    vertex: Digest,
    warning: { level: number; short: string; detail: string[]; url?: string; source?: SourceLocation },
  ): void {
    this.job.sink.warning({ vertex, ...warning, level: warning.level || 1 });
  }
}

/** Two rewrites as one. */
export function inTurn(first?: SourceRewrite, second?: SourceRewrite): SourceRewrite | undefined {
  if (first === undefined || second === undefined) return first ?? second;
  return (source) => second(first(source));
}

/** All trees of a result, attestations' too. */
export function refsOf(result: BridgeResult): BridgeRef[] {
  const main = result.refs === undefined ? [result.ref] : [...result.refs.values()];
  const attested = Object.values(result.attestations ?? {}).flatMap((list) => list.map(({ ref }) => ref));
  return [...main, ...attested].filter((ref) => ref !== undefined);
}
