/** The door of the solver: what an op is, what it is told, and what it gives back. */

import type { ContentSelector } from '../fs/index.ts';
import type { Edge, Vertex } from '../llb/index.ts';
import type { Checksum, Descriptor, Digest, Platform } from '../oci/index.ts';
import type { SourceOp } from '../pb/solver/pb/ops_pb.js';
import type { VertexProgress } from '../progress/index.ts';
import type { Session } from '../session/index.ts';
import type { Ref } from '../store/index.ts';
import type { ForeignMount } from './foreign-cache.ts';
import type { Pins } from './pins.ts';

export type { Edge, Vertex };

/** What a vertex is keyed by, besides its inputs. */
export interface CacheMap {
  /** Digest of all that makes the op's result what it is, except its inputs. */
  digest: Digest;
  /** One per input, in order. */
  deps: CacheDep[];
  /** The op must run each time (its source cannot be named by content yet, e.g. a client's folder). */
  volatile?: boolean;
  /**
   * What the result depends on besides: things of the client's that no key names (its proxies, the addresses of hosts,
   * secrets, agents, limits, what it can get at), or at most the cache mounts of its builds. Another tenant does not get
   * such a result.
   */
  unnamed?: 'things' | 'cache mounts';
  /** Of an image source, the digest of the image that it was found to be, for people. */
  found?: string;
  /** Of an image source, what it is keyed by says nothing of: the blobs that its layers are, lowest first. */
  layers?: readonly ImageLayer[];
  /** Of a source: what it is, for the record of what a build was made of. */
  used?: UsedSource;
}

/** What a source turned out to be. */
export type UsedSource =
  /** `ref` is the name that was asked for; `layout`: of a layout that the client offers, and of no registry. */
  | { kind: 'image'; ref: string; digest: Digest; platform: Platform; layout: boolean }
  | { kind: 'blob'; ref: string; digest: Digest; layout: boolean }
  /** `url` ends with `#REF` where a ref was asked for. */
  | { kind: 'git'; url: string; commit: string }
  /** `digest`: by the algorithm that was asked for. `lastModified`: as the server said it, when it was asked. */
  | { kind: 'http'; url: string; digest: Checksum; lastModified?: string }
  /** A folder or a tar of the client's, by the session's name: nothing says what was in it. */
  | { kind: 'local'; name: string };

/** A source of a build, and the layers of an image. */
export interface SourceInUse {
  /** Its vertex, and the op as it was solved. */
  vertex: Digest;
  source: SourceOp;
  used: UsedSource;
  layers: readonly ImageLayer[];
}

/** A layer of an image as its manifest names it. */
export interface ImageLayer {
  blob: Descriptor;
  diffId: Digest;
  /** Reference of the image, where a registry has it. */
  from: string | undefined;
}

/** The names that another builder's caches have for a vertex. */
export interface OtherKeys {
  /** The digests that its op may have there: one for each form that the builder's releases write it in. */
  ops: readonly Digest[];
  /** One per input, in order. `content`: what its name by contents covers, where it has one. */
  deps: readonly { selector: string; content?: ContentSelector[] }[];
  /** The names in older releases that select parts of inputs by other names. */
  older?: readonly { ops: readonly Digest[] /** One per input. */; selectors: readonly string[] }[];
}

export interface CacheDep {
  /** Part of the input that matters, added to the definition-based key (an exec mount's selector). */
  selector?: string;
  /** When given, the input's content may stand for it: the digest over all of these selections, in order. */
  content?: ContentSelector[];
}

/** What work for a build is told while it goes on, be it an op's or a frontend's. */
export interface WorkContext {
  readonly session: Session;
  readonly progress: VertexProgress;
  readonly signal: AbortSignal;
  /** Lease of the running build: pass it to every store call that makes something. */
  readonly lease: string;
  /** Registers what is to be done once the last build has let go of the vertex and its work has stopped. The solver always has it. */
  readonly onRelease?: (cleanup: () => void | Promise<void>) => void;
  /**
   * Holds a URL that the vertex's process asks for against the rules of the builds, and returns the URL to ask in its
   * place. Throws `denied`. The solver always has it.
   */
  readonly judgeUrl?: (url: string) => Promise<string>;
  /** What the builds that hold the vertex have found out of sources so far; the solver always has it. */
  readonly pins?: Pick<Pins, 'pin' | 'get'>;
  /**
   * Notes that the vertex uses the cache mount of this name, and returns what the builds' foreign caches have of it; the
   * solver always has it.
   */
  readonly cacheMount?: (key: string) => Promise<readonly ForeignMount[]>;
}

/** Told to an op while it runs. */
export interface OpContext extends WorkContext {
  readonly vertex: Vertex;
}

/** A solvable op. Instances are made per vertex by `ops/`; `cacheMap` may do I/O (resolve a tag), `exec` does the work. */
export interface Op {
  cacheMap(ctx: OpContext): Promise<CacheMap>;
  /**
   * Says that the work will be done once the inputs are there: what it needs can be made ready meanwhile. The result is
   * called when the work begins, or when it will not be done.
   */
  expect?(): () => void;
  /** `inputs` in order of the vertex's inputs. Returns one ref per output. */
  exec(inputs: readonly Ref[], ctx: OpContext): Promise<Ref[]>;
}

export type OpFactory = (vertex: Vertex) => Op;

/** Makes the op of one kind of vertex. Throws `unsupported` / `invalid` (hop `llb`) on attributes it does not know. */
export type OpMaker<Deps> = (vertex: Vertex, deps: Deps) => Op;
