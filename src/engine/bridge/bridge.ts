/**
 * The bridge between a build and its frontends: they solve, look images up and warn through it. It does what BuildKit's
 * `FrontendLLBBridge` does.
 */
import { fail, nearest, type SourceLocation } from '../../errors/index.ts';
import { openView } from '../../fs/index.ts';
import { create, DefinitionSchema, type Graph, type SourceRewrite } from '../../llb/index.ts';
import type { Digest } from '../../oci/index.ts';
import type { WorkerRecord } from '../../pb/moby/buildkit/v1/types/worker_pb.js';
import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import { adoptLeftovers, type Job } from '../../solver/index.ts';
import type { Ref } from '../../store/index.ts';
import type { BuildCaches } from '../caches.ts';
import type { Engine } from '../engine.ts';
import { emptyIgnoredCaches } from '../fresh-caches.ts';
import type { Rules } from '../rules.ts';
import { tellExcluded } from './excluded.ts';
import { BridgeRef, type RefSolver } from './ref.ts';
import type { Asked, BridgeRequest, BridgeResult, NamedFrontends } from './types.ts';

/** The parts of a bridge. */
interface BridgeParts {
  engine: Engine;
  /** The build in the solver. The caller releases it there once the build is over. */
  job: Job;
  /** The lease that keeps what is looked up and unpacked for the build. */
  lease: string;
  /** The rules that definitions are checked against. The job reads its own definitions under the same rules. */
  rules: Rules;
  /** The frontends that requests may name. */
  frontends: NamedFrontends;
  /** The workers that frontends are told of. */
  workers?: readonly WorkerRecord[];
  /** Reads further caches that frontends name; default: they are not read. */
  caches?: Pick<BuildCaches, 'import'>;
  /** Is told of the graphs that are solved. */
  ahead?: { expect(graph: Graph): void };
}

/** How deep frontends may call frontends. */
const maxDepth = 10;

/**
 * The bridge of one build.
 *
 * `runBuild` makes it and calls the build's frontend with it. The frontend solves by it as often as it likes, and may
 * call other frontends by their names. Trees that it solved are held until the build is over.
 */
export class Bridge {
  readonly engine: Engine;
  readonly job: Job;
  readonly lease: string;
  readonly rules: Rules;
  readonly workers: readonly WorkerRecord[];
  /** Names of the client's folders that requests to frontends named, whether they were read or not. */
  readonly offered = new Set<string>();
  readonly #caches: BridgeParts['caches'];
  readonly #ahead: BridgeParts['ahead'];
  readonly #frontends: NamedFrontends;
  readonly #asked = new WeakMap<BridgeRef, Asked>();
  /** The first request that was noted; it counts for empty trees. */
  #first: Asked | undefined;
  readonly #expected: (() => void)[] = [];
  #root: Asked | undefined;
  #depth = 0;

  constructor({ engine, job, lease, rules, frontends, workers = [], caches, ahead }: BridgeParts) {
    this.engine = engine;
    this.job = job;
    this.lease = lease;
    this.rules = rules;
    this.workers = workers;
    this.#caches = caches;
    this.#ahead = ahead;
    this.#frontends = frontends;
  }

  /**
   * Solves a definition, or calls the frontend that the request names. Throws `invalid` for a request that has both or
   * names an unknown frontend, and the frontend's own errors; with `evaluate`, also the errors of solving.
   */
  async solve(request: BridgeRequest): Promise<BridgeResult> {
    const { definition, frontend } = request;
    await this.#caches?.import(request.cacheImports ?? []);
    if (frontend !== '' && definition !== undefined && definition.def.length > 0) {
      throw bothGiven();
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
    // A client that directs its build names the Dockerfile only here.
    this.job.about.origin.file ??= request.options?.filename;
    this.#depth++;
    try {
      const inputs = this.#producers(request.inputs);
      const result = await call(this, request);
      this.note(result, { frontend: name, options: () => request.options, inputs });
      return result;
    } finally {
      this.#depth--;
    }
  }

  /** Notes the request that a frontend made its result for. A tree keeps the first request that is noted for it. */
  note(result: BridgeResult, asked: Asked): void {
    this.#first ??= asked;
    for (const ref of refsOf(result)) {
      if (!this.#asked.has(ref)) this.#asked.set(ref, asked);
      this.engine.producers.note(this, this.job.session.tenant?.id, ref.definition, asked);
    }
  }

  /** Notes the request that began the build; the trees that were handed to it may be another build's. */
  begin({ frontend, options, inputs }: Pick<BridgeRequest, 'frontend' | 'options' | 'inputs'>): void {
    this.#root = { frontend, options: () => options, inputs: this.#producers(inputs) };
  }

  /** The request that began the build; undefined when it came by no API of BuildKit's. */
  get root(): Asked | undefined {
    return this.#root;
  }

  /** Tells the client which kind of build begins: it may be asked for folders ahead. */
  expectFolders(purpose: string): void {
    const end = this.job.session.expect?.(purpose);
    if (end !== undefined) this.#expected.push(end);
  }

  /** Ends what other builds and the client know of this one. */
  close(): void {
    for (const end of this.#expected.splice(0)) end();
    this.engine.producers.forget(this);
  }

  /** The requests for trees that are handed to a frontend, where builds that go on have made them. */
  #producers(inputs: BridgeRequest['inputs']): Asked['inputs'] {
    const found = Object.entries(inputs).flatMap(([name, definition]) => {
      const asked = this.engine.producers.find(this, this.job.session.tenant?.id, definition);
      return asked === undefined ? [] : [[name, asked] as const];
    });
    return found.length === 0 ? undefined : Object.fromEntries(found);
  }

  /** Gives the request of the frontend that made a tree; undefined when no frontend made it. */
  askedFor(ref: BridgeRef | undefined): Asked | undefined {
    return ref === undefined ? this.#first : this.#asked.get(ref);
  }

  /**
   * The tree that a definition stands for; undefined for the empty tree. Nothing is solved yet. `rewrite` is applied to
   * the definition's sources before the build's own rewrite.
   */
  ref(definition: Definition | undefined, rewrite?: SourceRewrite): BridgeRef | undefined {
    if (definition === undefined || definition.def.length === 0) return undefined;
    return new BridgeRef(definition, this.#refSolver(rewrite));
  }

  #refSolver(rewrite: SourceRewrite | undefined): RefSolver {
    return {
      solve: (definition) => this.#solveDefinition(definition, rewrite),
      open: async (ref) =>
        openView(
          await ref.view({
            lease: this.lease,
            signal: this.job.signal,
            credentials: (host) => this.job.session.credentials(host),
            mayBeLazy: this.job.session.tenant === undefined,
          }),
        ),
    };
  }

  async #solveDefinition(
    definition: Definition,
    rewrite: SourceRewrite | undefined,
  ): Promise<{ ref: Ref; graph: Graph }> {
    const { engine, job } = this;
    const graph = await this.rules.load(definition, job.signal, rewrite);
    if (graph.output === undefined) return { ref: engine.refs.empty(), graph };
    this.#ahead?.expect(graph);
    await emptyIgnoredCaches(engine.store, job, graph.vertices);
    try {
      const [ref] = await engine.solver.solve(job, graph.vertices, [graph.output]);
      return { ref: ref ?? engine.refs.empty(), graph };
    } catch (err) {
      tellExcluded(err);
      await adoptLeftovers(err, engine.store, this.lease);
      throw err;
    }
  }

  /** A ref of a tree that is there already. */
  held(ref: Ref): BridgeRef {
    return new BridgeRef(create(DefinitionSchema, {}), {
      ...this.#refSolver(undefined),
      solve: async () => ({ ref, graph: undefined }),
    });
  }

  /** Shows a frontend's warning under a vertex. */
  warn(
    vertex: Digest,
    warning: { level: number; short: string; detail: string[]; url?: string; source?: SourceLocation },
  ): void {
    this.job.sink.warning({ vertex, ...warning, level: warning.level || 1 });
  }
}

/** The error for a request that names a frontend and brings a definition as well. */
export function bothGiven(): Error {
  return fail('invalid', 'frontend', 'cannot solve with both Definition and Frontend specified');
}

/** All trees of a result, with those of its attestations. */
function refsOf(result: BridgeResult): BridgeRef[] {
  const main = result.refs === undefined ? [result.ref] : [...result.refs.values()];
  const attested = Object.values(result.attestations ?? {}).flatMap((list) => list.map(({ ref }) => ref));
  return [...main, ...attested].filter((ref) => ref !== undefined);
}
