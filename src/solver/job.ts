import { randomUUID } from 'node:crypto';
import { toDrydockError } from '../errors/error.ts';
import { type Graph, loadGraphInTurns } from '../llb/graph.ts';
import { digestOf } from '../oci/digest.ts';
import type { Definition } from '../pb/solver/pb/ops_pb.js';
import { boundProgress, now } from '../progress/bound.ts';
import type { ProgressSink, VertexProgress } from '../progress/events.ts';
import type { Session } from '../session/types.ts';
import type { ForeignCache } from './foreign-cache.ts';
import type { Hold } from './hold.ts';
import { Pins } from './pins.ts';
import type { VertexState } from './state.ts';

export { boundProgress, now };

/** Reads a definition, holding it against what a build may do. */
export type LoadDefinition = (definition: Definition, signal: AbortSignal) => Graph | Promise<Graph>;

interface JobOptions {
  /** Entitlements granted: `network.host`, `security.insecure`; default: none. */
  allow?: readonly string[];
  /** The vertices in whose ops this build's graphs are nested, outermost first; default: none, a client's own build. */
  within?: readonly VertexState[];
  /** What its sources were when it, or the build that it is nested in, first asked for them. */
  pins?: Pins;
  /** The rules that its definitions are read under; default: none. */
  load?: LoadDefinition;
}

const loadPlain: LoadDefinition = (definition, signal) => loadGraphInTurns(definition, { signal });

/** One build: whose session it uses, who watches it, and what it holds in the solver. */
export class Job {
  readonly id = randomUUID();
  readonly session: Session;
  readonly sink: ProgressSink;
  /** Entitlements granted: `network.host`, `security.insecure`. Graphs nested in its ops have no more. */
  readonly allow: readonly string[];
  readonly #controller = new AbortController();
  readonly #ended = new AbortController();
  /** What this build's solves hold; the solver keeps this. */
  readonly holds = new Set<Hold>();
  /** Caches from elsewhere that are looked into beside the local records. They resolve to none when they cannot be read. */
  readonly imports: Promise<readonly ForeignCache[]>[] = [];
  /** What names those caches, so that each is read once. */
  readonly importKeys = new Set<string>();
  /** Cache mounts that it has emptied: what its own steps have put in since is theirs. */
  readonly emptiedCaches = new Set<string>();
  /** What its sources were when it first asked for them. */
  readonly pins: Pins;
  /** The vertices in whose ops this build's graphs are nested, outermost first; none for a client's own build. */
  readonly within: readonly VertexState[];
  readonly #load: LoadDefinition;

  constructor(
    session: Session,
    sink: ProgressSink,
    signal: AbortSignal,
    { allow = [], within = [], pins = new Pins(), load = loadPlain }: JobOptions = {},
  ) {
    this.pins = pins;
    this.allow = allow;
    this.within = within;
    this.#load = load;
    this.session = session;
    this.sink = sink;
    if (signal.aborted) this.#controller.abort(signal.reason);
    else {
      signal.addEventListener('abort', () => this.#controller.abort(signal.reason), {
        once: true,
        signal: this.#ended.signal,
      });
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Reads a definition under the build's rules; a step may bring one along. */
  load(definition: Definition): Graph | Promise<Graph> {
    return this.#load(definition, this.signal);
  }

  /** Stops the build's work. */
  abort(reason: unknown): void {
    this.#controller.abort(reason);
  }

  /** The build is over: stops listening to its caller's signal. `Solver.release` calls it. */
  end(): void {
    this.#ended.abort();
  }

  /** Runs work that is no LLB op (loading the Dockerfile, exporting) and shows it as a vertex of its own. */
  async inVertex<T>(name: string, work: (progress: VertexProgress) => Promise<T>): Promise<T> {
    const digest = digestOf(`${this.id} ${name} ${randomUUID()}`);
    const started = now();
    const { sink } = this;
    sink.vertex({ digest, inputs: [], name, started });
    try {
      const result = await work(boundProgress(digest, sink));
      sink.vertex({ digest, inputs: [], name, started, completed: now() });
      return result;
    } catch (err) {
      const error = toDrydockError(err);
      error.step ??= name;
      error.vertex ??= digest;
      const message = error.code === 'canceled' ? 'CANCELED' : error.message;
      sink.vertex({ digest, inputs: [], name, started, completed: now(), error: message });
      throw error;
    }
  }
}
