/** Builds in the history, as docker's API needs them: builds that did not come by BuildKit's API, and that are followed and remembered as if they had. */
import type { Reach } from '../../auth/index.ts';
import type { Built } from '../../engine/index.ts';
import type { ProgressSink } from '../../progress/index.ts';
import type { BuildLog } from './build-log.ts';

/** A build as its record tells of it. */
interface AskedBuild {
  /** The one who started it (`identityKey`). */
  owner: string;
  /** The options of the Dockerfile frontend, by BuildKit's names. Passwords in them are masked. */
  options: Readonly<Record<string, string>>;
  outputs: readonly { type: string; attrs: Readonly<Record<string, string>> }[];
  /** The log of the build where one is followed already; it is ended with the record. */
  log?: BuildLog;
}

/** A build that is followed and remembered. One of `ended` and `failed` is called, once. */
interface RecordedBuild {
  /** The build's reference. */
  readonly ref: string;
  /** Hears of the build while it runs. */
  readonly sink: ProgressSink;
  ended(result: Built): void;
  failed(error: unknown): void;
}

/** Begins the log and the record of a build. */
export type RecordBuild = (asked: AskedBuild) => RecordedBuild;

/** A build that made an image. */
export interface MadeBy {
  ref: string;
  /** When it began, in ms since the epoch. */
  createdAt: number;
}

/** The builds within reach by the digests of what they made: of configs, manifests and indexes. */
export type BuildsByResult = (reach: Reach) => Promise<ReadonlyMap<string, readonly MadeBy[]>>;
