import { boundProgress } from '../progress/index.ts';
import { Audience } from './audience.ts';
import { Findings } from './findings.ts';
import type { Apart } from './keys.ts';
import { sessionGroup } from './session-group.ts';
import type { CacheMap, Op, OpContext, Vertex } from './types.ts';
import { VertexLease } from './vertex-lease.ts';
import { Work } from './work.ts';

/**
 * A vertex in the solver, shared by all solves that hold it and by equal vertices that follow it.
 *
 * It is made when a solve needs a vertex that nobody holds, and ends when nobody is left that holds it. Itself it never
 * changes; what becomes of it is in its four parts, each with one writer: the builds around it (`audience`), the
 * solver's work for it (`work`), the contents of its outputs (`findings`), and the lease that keeps them (`lease`).
 */
export class VertexState {
  /** Where the solver finds it again: the vertex's digest, or one that tells it from the vertex in other sessions. */
  readonly key: string;
  readonly vertex: Vertex;
  readonly inputs: readonly { state: VertexState; index: number }[];
  readonly op: Op;
  readonly context: OpContext;
  readonly work = new Work();
  readonly audience: Audience;
  readonly findings = new Findings();
  readonly lease = new VertexLease();

  /** `of`: what all builds that will hold it have in common. Throws what `makeOp` does. */
  constructor(
    key: string,
    vertex: Vertex,
    inputs: VertexState['inputs'],
    makeOp: (vertex: Vertex) => Op,
    of: Apart,
  ) {
    const { work } = this;
    const audience = new Audience(vertex, work);
    this.key = key;
    this.vertex = vertex;
    this.inputs = inputs;
    this.audience = audience;
    this.context = {
      vertex,
      session: sessionGroup(() => audience.sessions(), of, work.signal),
      progress: boundProgress(vertex.digest, audience.sink),
      signal: work.signal,
      lease: this.lease.name,
      onRelease: (cleanup) => work.onRelease(cleanup),
      judgeUrl: (url) => audience.judgeUrl(url),
      pins: {
        pin: (key, find) => audience.pin(key, find),
        get: (key) => audience.pins?.get(key),
      },
      cacheMount: (key) => audience.cacheMount(key),
    };
    this.op = makeOp(vertex);
  }

  /** Whether a build, a follower or a running op still wants it. */
  get isHeld(): boolean {
    return !this.audience.isEmpty || this.work.isRead;
  }

  /** The op's cache map, made once. */
  cacheMap(): Promise<CacheMap> {
    return this.work.mapped(() => this.op.cacheMap(this.context));
  }
}
