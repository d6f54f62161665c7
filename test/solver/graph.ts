/** Graphs of small made-up ops that count how often they run, solved by a real solver on a real store. */
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { specOfMounts } from '../../src/fs/view.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { OpMetadataSchema, OpSchema } from '../../src/pb/solver/pb/ops_pb.js';
import type {
  LogEvent,
  ProgressSink,
  StatusEvent,
  VertexEvent,
  WarningEvent,
} from '../../src/progress/events.ts';
import type { Session } from '../../src/session/types.ts';
import type { FleetCache } from '../../src/solver/fleet-cache.ts';
import { Job } from '../../src/solver/job.ts';
import { Solver } from '../../src/solver/solver.ts';
import type { CacheDep, CacheMap, Edge, Op, OpContext, Vertex } from '../../src/solver/types.ts';
import type { Ref } from '../../src/store/ref.ts';
import { Workshop } from '../kit/workshop.ts';

/** What an op of a test does. */
export interface Work {
  /** What its cache map's digest is over; default: its name. */
  says?: string;
  deps?: CacheDep[];
  volatile?: boolean;
  cacheMap?(ctx: OpContext): Promise<CacheMap>;
  /** Runs when the op is made. */
  make?(): void;
  /** The text its tree's only file `/out` gets, or its refs. Default: its name. */
  does?(inputs: readonly Ref[], ctx: OpContext): Promise<string | Ref[]>;
}

export class Build {
  readonly events: VertexEvent[] = [];
  readonly logs: LogEvent[] = [];
  readonly statuses: StatusEvent[] = [];
  readonly warnings: WarningEvent[] = [];
  readonly stop = new AbortController();
  readonly job: Job;

  constructor(session: Session) {
    const sink: ProgressSink = {
      vertex: (event) => this.events.push(event),
      log: (event) => this.logs.push(event),
      status: (event) => this.statuses.push(event),
      warning: (event) => this.warnings.push(event),
    };
    this.job = new Job(session, sink, this.stop.signal);
  }

  /** The last thing said of a vertex. */
  last(name: string): VertexEvent | undefined {
    return this.events.findLast((event) => event.name === name);
  }
}

export class Graphs extends Workshop {
  solver!: Solver;
  /** What builders elsewhere have made; set it before `open`. */
  fleet: FleetCache | undefined;
  /** Names of ops in the order they ran. */
  readonly ran: string[] = [];
  readonly #work = new Map<Vertex, Work>();

  override async open(): Promise<void> {
    await super.open();
    this.solver = new Solver({
      store: this.store,
      cache: this.cache,
      makeOp: (vertex) => this.#op(vertex),
      restore: (serialized, lease) => this.refs.restore(serialized, lease),
      fleet: this.fleet,
    });
  }

  vertex(
    name: string,
    inputs: (Vertex | Edge)[] = [],
    work: Work & { ignoreCache?: boolean; source?: string; digest?: string } = {},
  ): Vertex {
    const edges = inputs.map((input) => ('vertex' in input ? input : { vertex: input, index: 0 }));
    const op = create(
      OpSchema,
      work.source === undefined
        ? { op: { case: 'merge', value: {} } }
        : { op: { case: 'source', value: { identifier: work.source } } },
    );
    const vertex: Vertex = {
      digest: digestOf(work.digest ?? JSON.stringify([name, edges.map((e) => [e.vertex.digest, e.index])])),
      op,
      inputs: edges,
      metadata: create(OpMetadataSchema, { ignoreCache: work.ignoreCache ?? false }),
      name,
      source: undefined,
    };
    this.#work.set(vertex, work);
    return vertex;
  }

  #op(vertex: Vertex): Op {
    const work = this.#work.get(vertex) ?? {};
    work.make?.();
    return {
      cacheMap: async (ctx) =>
        work.cacheMap?.(ctx) ?? {
          digest: digestOf(work.says ?? vertex.name),
          deps: work.deps ?? vertex.inputs.map(() => ({})),
          volatile: work.volatile,
        },
      exec: async (inputs, ctx) => {
        this.ran.push(vertex.name);
        const made = (await work.does?.(inputs, ctx)) ?? vertex.name;
        return typeof made === 'string' ? [await this.tree({ out: made }, ctx.lease)] : made;
      },
    };
  }

  /** A committed snapshot with some files. */
  async tree(files: Record<string, string>, lease: string): Promise<Ref> {
    const key = `t-${randomUUID()}`;
    const spec = specOfMounts(await this.store.snapshots.prepare(`${key}-active`, undefined, { lease }));
    if (spec.kind !== 'layers') throw new Error('no folder');
    for (const [name, text] of Object.entries(files)) writeFileSync(join(spec.dirs[0]!, name), text);
    await this.store.snapshots.commit(key, `${key}-active`, { lease });
    return this.refs.snapshot(key);
  }

  build(session: Partial<Session> = {}): Build {
    const nothing = async () => undefined;
    return new Build({
      id: randomUUID(),
      local: nothing,
      upload: nothing,
      secret: nothing,
      ssh: nothing,
      credentials: nothing,
      ...session,
    });
  }

  /** Solves a vertex and reads its file. */
  async solve(target: Vertex, build: Build = this.build()): Promise<string> {
    const [ref] = await this.solver.solve(build.job, inOrder([target]), [{ vertex: target, index: 0 }]);
    return this.read(ref);
  }

  async read(ref: Ref | undefined, path = '/out'): Promise<string> {
    const { readFileSync } = await import('node:fs');
    const entry = (await this.view(ref)).lstat(path);
    return entry === undefined ? '' : readFileSync(entry.hostPath, 'utf8');
  }

  /** A whole build of one target: solve, release. */
  async run(target: Vertex, build: Build = this.build()): Promise<Build> {
    try {
      await this.solve(target, build);
    } finally {
      await this.solver.release(build.job);
    }
    return build;
  }

  /** What ran since the last call. */
  takeRan(): string[] {
    return this.ran.splice(0);
  }
}

/** All vertices below some, inputs first. */
export function inOrder(targets: readonly Vertex[]): Vertex[] {
  const done = new Set<Vertex>();
  const work = [...targets];
  while (work.length > 0) {
    const vertex = work.at(-1)!;
    const open = done.has(vertex) ? [] : vertex.inputs.map((edge) => edge.vertex).filter((v) => !done.has(v));
    if (open.length > 0) work.push(...open);
    else {
      done.add(vertex);
      work.pop();
    }
  }
  return [...done];
}

/** A promise to be settled by hand. */
export function gate(): { open(): void; passed: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { open: resolve, passed: promise };
}

/** Rejects when the context is cancelled, else waits for ever. */
export function untilCanceled(ctx: OpContext): Promise<never> {
  return new Promise((_, reject) => {
    const stop = () => reject(new DOMException('stopped', 'AbortError'));
    if (ctx.signal.aborted) stop();
    else ctx.signal.addEventListener('abort', stop, { once: true });
  });
}
