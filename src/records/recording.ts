/** The contract of a build that is remembered: what is known when it begins, and who hears of it. */
import type { Built } from '../engine/index.ts';
import type { ProgressSink } from '../progress/index.ts';

/** A build as its record tells of it. */
export interface AskedBuild {
  /** The reference that the build is to have; default a new one. */
  ref?: string;
  /** The one who started it (`identityKey`). */
  owner: string;
  /** `dockerfile.v0`; '' for a build of a definition. */
  frontend: string;
  /** The options of the frontend, by BuildKit's names. Passwords in them are masked. */
  options: Readonly<Record<string, string>>;
  outputs: readonly { type: string; attrs: Readonly<Record<string, string>> }[];
}

/** A build that is remembered. One of `ended` and `failed` is called, once. */
export interface RecordedBuild {
  /** The build's reference. */
  readonly ref: string;
  /** Hears of the build while it runs. */
  readonly sink: ProgressSink;
  ended(result: Built): void | Promise<void>;
  failed(error: unknown): void | Promise<void>;
}

/** Begins the record of a build. */
export type RecordBuild = (asked: AskedBuild) => RecordedBuild;
