/** Builds in the history, as docker's API needs them: builds that did not come by BuildKit's API, and that are followed and remembered as if they had. */
import type { Reach } from '../../auth/index.ts';
import type { AskedBuild, RecordedBuild } from '../../records/index.ts';
import type { BuildLog } from './build-log.ts';

/** Begins the log and the record of a build; `log` is that of one that is followed already, and is ended with the record. */
export type RecordFollowed = (asked: AskedBuild & { log?: BuildLog }) => RecordedBuild;

/** A build that made an image. */
export interface MadeBy {
  ref: string;
  /** When it began, in ms since the epoch. */
  createdAt: number;
}

/** The builds within reach by the digests of what they made: of configs, manifests and indexes. */
export type BuildsByResult = (reach: Reach) => Promise<ReadonlyMap<string, readonly MadeBy[]>>;
