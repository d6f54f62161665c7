import { randomUUID } from 'node:crypto';
import { maskUrls, toDrydockError } from '../errors/index.ts';
import { type Graph, loadGraphInTurns } from '../llb/index.ts';
import { digestOf } from '../oci/index.ts';
import type { Definition } from '../pb/solver/pb/ops_pb.js';
import {
  boundProgress,
  canceledText,
  now,
  type ProgressSink,
  type VertexProgress,
} from '../progress/index.ts';
import type { Session } from '../session/index.ts';
import type { Ref } from '../store/index.ts';
import type { ForeignCache } from './foreign-cache.ts';
import type { Hold } from './hold.ts';
import type { BuildAbout, BuildOrigin } from './miss.ts';
import { Pins } from './pins.ts';
import type { VertexState } from './state.ts';
import type { Vertex } from './types.ts';

/** Reads a definition, holding it against what a build may do. */
export type LoadDefinition = (definition: Definition, signal: AbortSignal) => Graph | Promise<Graph>;

/** Foreign caches being read. They resolve to none when they cannot be read. */
type ForeignCaches = Promise<readonly ForeignCache[]>;

interface JobOptions {
  /** Entitlements granted: `network.host`, `security.insecure`; default: none. */
  allow?: readonly string[];
  /** The vertices in whose ops this build's graphs are nested, outermost first; default: none, a client's own build. */
  within?: readonly VertexState[];
  /** What its sources were when it, or the build that it is nested in, first asked for them. */
  pins?: Pins;
  /** The rules that its definitions are read under; default: none. */
  load?: LoadDefinition;
  /** Returns the URL that a step may ask in the place of one. Throws `denied`; default: all as they are. */
  judgeUrl?: (url: string) => Promise<string>;
  /** Foreign caches of the builds that it is nested in. */
  imports?: ForeignCaches;
  /** Is told of each step that has run, with what it has made; not of what was cached. It must not throw. */
  made?: (vertex: Vertex, refs: readonly Ref[]) => void;
  /** What it is made from. */
  origin?: BuildOrigin;
  /** The ID by which why its steps ran is known afterwards; default its own. */
  knownAs?: string;
  /** What the build that it is nested in says of itself. */
  about?: BuildAbout;
}

const loadPlain: LoadDefinition = (definition, signal) => loadGraphInTurns(definition, { signal });

/**
 * One build: whose session it uses, who watches it, and what it holds in the solver.
 *
 * It begins when a client asks for a build, or when an op has a graph of its own solved. As many graphs as it wants are
 * solved for it, one after the other or at the same time, and what was solved stays held. It ends by `Solver.release`,
 * which has it let go of all that. It may be aborted before: by its caller's signal, or by `abort`.
 */
export class Job {
  readonly id = randomUUID();
  readonly session: Session;
  readonly sink: ProgressSink;
  /** Entitlements granted: `network.host`, `security.insecure`. Graphs nested in its ops have no more. */
  readonly allow: readonly string[];
  readonly #controller = new AbortController();
  readonly #ended = new AbortController();
  /** Its solves; `VertexStates` alone writes them. */
  readonly holds = new Set<Hold>();
  readonly #outerImports: readonly ForeignCaches[];
  /** By what names them. */
  readonly #imports = new Map<string, ForeignCaches>();
  /** Cache mounts that it has emptied: what its own steps have put in since is theirs. `emptyIgnoredCaches` alone adds to them. */
  readonly emptiedCaches = new Set<string>();
  /** What its sources were when it first asked for them. */
  readonly pins: Pins;
  /** The vertices in whose ops this build's graphs are nested, outermost first; none for a client's own build. */
  readonly within: readonly VertexState[];
  /** What it says of itself; a nested build is what the outer one is. */
  readonly about: BuildAbout;
  /** Is told of each step that has run, with what it has made. */
  readonly made: JobOptions['made'];
  readonly #load: LoadDefinition;
  readonly judgeUrl: (url: string) => Promise<string>;

  constructor(
    session: Session,
    sink: ProgressSink,
    signal: AbortSignal,
    {
      allow = [],
      within = [],
      pins = new Pins(),
      load = loadPlain,
      judgeUrl = async (url) => url,
      imports,
      made,
      origin = {},
      knownAs,
      about,
    }: JobOptions = {},
  ) {
    this.pins = pins;
    this.made = made;
    this.about = about ?? { id: knownAs ?? this.id, origin, failedImports: [], usedCaches: new Set() };
    this.allow = allow;
    this.within = within;
    this.#load = load;
    this.judgeUrl = judgeUrl;
    this.#outerImports = imports === undefined ? [] : [imports];
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

  /** Foreign caches that are looked into beside the local records. */
  get imports(): readonly ForeignCaches[] {
    return [...this.#outerImports, ...this.#imports.values()];
  }

  /** How many foreign caches it reads that the builds it is nested in do not. */
  get importCount(): number {
    return this.#imports.size;
  }

  /** Whether it reads the foreign cache of a name already. */
  hasImport(key: string): boolean {
    return this.#imports.has(key);
  }

  /** Adds a foreign cache. `key` names it, so that each is read once. */
  addImport(key: string, reading: ForeignCaches): void {
    this.#imports.set(key, reading);
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
  async inVertex<T>(work: string, run: (progress: VertexProgress) => Promise<T>): Promise<T> {
    const name = maskUrls(work);
    const digest = digestOf(`${this.id} ${name} ${randomUUID()}`);
    const started = now();
    const { sink } = this;
    sink.vertex({ digest, inputs: [], name, started });
    try {
      const result = await run(boundProgress(digest, sink));
      sink.vertex({ digest, inputs: [], name, started, completed: now() });
      return result;
    } catch (err) {
      const error = toDrydockError(err);
      error.step ??= name;
      error.vertex ??= digest;
      const message = error.code === 'canceled' ? canceledText : maskUrls(error.message);
      sink.vertex({ digest, inputs: [], name, started, completed: now(), error: message });
      throw error;
    }
  }
}
