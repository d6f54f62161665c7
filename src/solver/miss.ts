/** What the solver says of a step that runs because no cache has it, to whoever can say why. */
import type { ContentSelector } from '../fs/index.ts';
import type { Digest } from '../oci/index.ts';
import type { StepUsage } from '../progress/index.ts';
import type { Vertex } from './types.ts';

/** A step that runs because no cache has it. */
export interface Miss {
  readonly vertex: Vertex;
  /** Digest of the op without its inputs. */
  readonly op: Digest;
  /** The record that it will be, if its result can be recorded. */
  readonly id: Digest;
  /** The build wanted no cache for it. */
  readonly isIgnored: boolean;
  readonly inputs: readonly MissInput[];
  /** Foreign caches that know the step, and whether they said that they have its result. */
  readonly foreign: readonly { name: string; hasResult: boolean }[];
  readonly build: MissBuild;
}

export interface MissInput {
  readonly vertex: Vertex;
  readonly id: Digest;
  /** Digest of the contents that stand for it, where they were read, and what they were selected by. */
  readonly content: Digest | undefined;
  readonly selectors: readonly ContentSelector[];
  /** What a source was found to be, such as the digest of an image. */
  readonly found: string | undefined;
  /** The input is a step that ran in this build as well. */
  readonly miss: Miss | undefined;
}

/** The build that a step runs for. */
export interface MissBuild {
  readonly id: string;
  /** Whose it is, where builds are kept apart. */
  readonly tenant: string | undefined;
  /** What is built, for people. */
  readonly what: string;
  /**
   * Tells builds of one thing from builds of others: the client's folder, else what is built under what name. Undefined
   * when the build says nothing of the kind.
   */
  project(): Promise<string | undefined>;
  /** All vertices that the build has so far, and how many they are. */
  vertices(): readonly Vertex[];
  size(): number;
  /** Foreign caches that the build named and that could not be read. */
  readonly failedImports: readonly string[];
}

/** Says why steps run. What it does never fails or stops a build. */
export interface MissTeller {
  /** Why the step runs, in a line without its end; undefined: nothing is said. Never rejects. */
  why(miss: Miss): Promise<string | undefined>;
  /** The step has run, well or not, and this is what it has used of the machine. Never throws. */
  used(miss: Miss, usage: StepUsage): void;
  /** The step has run for so many ms, and its result is recorded. Never throws. */
  recorded(miss: Miss, took: number): void;
  /** A build is over that ran none of its steps, of which it has so many. Never throws. */
  allCached(build: Pick<MissBuild, 'id' | 'tenant' | 'what'>, steps: number): void;
}

/** What a build says of itself, for telling it from others. */
export interface BuildAbout {
  readonly id: string;
  /** What is built from what file, and under what names. */
  readonly origin: BuildOrigin;
  /** Foreign caches that could not be read. */
  readonly failedImports: string[];
  /** Names of the cache mounts that its steps have used. */
  readonly usedCaches: Set<string>;
  /** Set when one of its steps has run. */
  hasRun?: boolean;
}

/** What a build is made from, as its request says. */
export interface BuildOrigin {
  /** The Dockerfile, as the client names it. */
  file?: string;
  /** URL of the context, where it is no folder of the client's. */
  context?: string;
  /** Names of the images. */
  names?: readonly string[];
}
