/** The builds that a page may show: running ones, and those of the history. Whose they are is asked each time. */

import { fromBinary } from '@bufbuild/protobuf';
import { predicateTypeKey } from '../../attest/index.ts';
import type { Reach } from '../../auth/index.ts';
import { storedAttestations } from '../../distribution/index.ts';
import { fail } from '../../errors/index.ts';
import type { Digest } from '../../oci/index.ts';
import { StatusSchema } from '../../pb/google/rpc/status_pb.js';
import { buildIdOf } from '../../records/index.ts';
import type { Store } from '../../store/index.ts';
import { isDue, nextTurn } from '../../workers/index.ts';
import { recordFilter } from '../buildkit/history/filter.ts';
import type { HistoryEvent, OwnedRecord } from '../buildkit/history/history.ts';
import { readErrorDetails, readMessage } from '../shared/error-details.ts';
import type { Observed } from '../shared/observed.ts';
import { replay } from '../shared/replay.ts';
import { BuildModel } from './build-model.ts';
import { type LiveBuild, liveBuild } from './live-build.ts';
import { recordParts, summaryOf } from './summary.ts';
import type { Attestation, BuildDetail, BuildFailure, BuildSummary } from './types.ts';

/** How many ended builds are kept as models, and about how many bytes they may take together. */
const mostKept = 16;
const mostBytes = 64 << 20;
/** The largest statement that is shown, in bytes. */
const mostStatement = 64 << 20;

/** A build that was found, running or ended. */
export interface FoundBuild {
  model: BuildModel;
  /** Set while it runs. */
  live?: LiveBuild;
  detail(): BuildDetail;
  /** What is stated of its images in the store, but for what the record has. Empty while it runs. */
  attached(): Promise<Attestation[]>;
}

export class UiBuilds {
  readonly #observed: Observed;
  readonly #store: Store | undefined;
  /** The models of ended builds, the one that was asked for last at the end. */
  readonly #kept = new Map<string, BuildModel>();

  /** `store` has the images that builds made. */
  constructor(observed: Observed, store?: Store) {
    this.#observed = observed;
    this.#store = store;
  }

  /**
   * The builds within reach, newest first, running ones before all: those that fit one of the filters (BuildKit's, as
   * `drydock history ls --filter` takes them), so many at most. Throws `invalid` for a filter that cannot be read.
   */
  async list(
    reach: Reach,
    filters: readonly string[],
    limit: number,
  ): Promise<{ builds: BuildSummary[]; more: boolean }> {
    const { history } = this.#observed;
    const fits = recordFilter(filters);
    await history.settled();
    const builds: BuildSummary[] = [];
    for (const each of history.activeOf(reach)) {
      if (fits(each.record)) builds.push(this.#summary(each));
    }
    builds.sort((a, b) => b.startedAt - a.startedAt);
    for await (const each of history.listOf(reach)) {
      if (!fits(each.record)) continue;
      if (builds.length >= limit) return { builds, more: true };
      builds.push(summaryOf(each));
    }
    return { builds, more: false };
  }

  /**
   * Calls back for each build within reach that begins, goes on (once a second) or ends, and, with its reference, for
   * each that is removed. Returns a function that ends this.
   */
  listen(reach: Reach, changed: (build: BuildSummary) => void, gone: (ref: string) => void): () => void {
    const { history } = this.#observed;
    const told = new Map<string, number>();
    const stop = history.listen(reach, (event: HistoryEvent) => {
      if (event.type === 'deleted') gone(event.record.Ref);
      else changed(this.#summary(event));
    });
    const timer = setInterval(() => {
      const active = history.activeOf(reach);
      for (const each of active) {
        // There may be many pages and many builds: of those that have not gone on no more is asked.
        const { total, completed } = this.#counts(each);
        const key = each.record.Ref;
        if (told.get(key) === total + completed) continue;
        told.set(key, total + completed);
        changed(this.#summary(each));
      }
      if (active.length === 0) told.clear();
    }, 1000);
    return () => {
      stop();
      clearInterval(timer);
    };
  }

  /** Finds a build. Throws `not-found` for one that is not there or out of reach. */
  async find(reach: Reach, ref: string): Promise<FoundBuild> {
    const { jobs, history } = this.#observed;
    const active = this.#active(reach, ref);
    const running = active && jobs.running(ownersReach(active), ref);
    if (active !== undefined && running !== undefined) {
      const live = liveBuild(running);
      await live.caughtUp();
      return { model: live, live, detail: () => this.#detail(active, live), attached: async () => [] };
    }
    await history.settled();
    const found = history.find(reach, ref);
    if (found === undefined) {
      throw noBuild(ref);
    }
    const model = await this.#past(found);
    const failure = await this.#failure(found, model);
    return {
      model,
      detail: () => this.#detail(found, model, failure),
      attached: () => this.#attached(found),
    };
  }

  /** Whether a build within reach runs. */
  runs(reach: Reach, ref: string): boolean {
    return this.#active(reach, ref) !== undefined;
  }

  /** Whether a build within reach runs in another process. */
  isElsewhere(reach: Reach, ref: string): boolean {
    return this.#active(reach, ref)?.elsewhere === true;
  }

  /** A running build; one's own comes before another's, as in the history. */
  #active(reach: Reach, ref: string): OwnedRecord | undefined {
    const named = this.#observed.history.activeOf(reach).filter(({ record }) => record.Ref === ref);
    return named.find(({ owner }) => owner === reach.owner) ?? named[0];
  }

  /** The IDs by which explain knows builds within reach. Throws `not-found`. */
  async explainedAs(reach: Reach, refs: readonly string[]): Promise<string[]> {
    const { history } = this.#observed;
    await history.settled();
    return refs.map((ref) => {
      const found = history.find(reach, ref) ?? this.#active(reach, ref);
      if (found === undefined) throw noBuild(ref);
      return buildIdOf(found.owner, ref);
    });
  }

  /** Pins the record of an ended build, or unpins it. Throws `not-found`, and `conflict` for a build that runs. */
  async pin(reach: Reach, ref: string, pinned: boolean): Promise<void> {
    await this.#ended(reach, ref);
    if (!this.#observed.history.pin(reach, ref, pinned)) throw noBuild(ref);
  }

  /** Removes the record of an ended build. Throws `not-found`, and `conflict` for a build that runs. */
  async remove(reach: Reach, ref: string): Promise<void> {
    await this.#ended(reach, ref);
    if (!this.#observed.history.delete(reach, ref)) throw noBuild(ref);
  }

  async #ended(reach: Reach, ref: string): Promise<void> {
    const { history } = this.#observed;
    await history.settled();
    if (!this.runs(reach, ref) || history.find(reach, ref) !== undefined) return;
    throw fail('conflict', 'client', `the build ${ref} still runs`, { hint: 'Cancel it first.' });
  }

  /**
   * A document of a build: one of its attestations, and of those that lie with its images when `images` says so.
   * Undefined when the build has none of this digest.
   */
  async document(reach: Reach, ref: string, digest: string, images: boolean): Promise<Buffer | undefined> {
    const { history } = this.#observed;
    await history.settled();
    const found = history.find(reach, ref);
    if (found === undefined) return undefined;
    const isOf = (list: readonly Attestation[]) => list.some((each) => each.digest === digest);
    if (isOf(recordParts(found.record).attestations)) return history.wholeBlob(ownersReach(found), digest);
    if (!images || !isOf(await this.#attached(found))) return undefined;
    return this.#store?.content.bytes(digest as Digest);
  }

  async #attached({ record }: OwnedRecord): Promise<Attestation[]> {
    const { results, attestations } = recordParts(record);
    const known = new Set(attestations.map(({ type }) => type));
    const found: Attestation[] = [];
    for (const { digest, mediaType, size } of results) {
      if (this.#store === undefined) break;
      const target = { digest: digest as Digest, mediaType, size };
      // An image that was removed, or is not whole, has nothing to show.
      const stored = await storedAttestations(this.#store, record.Ref, target).catch(() => []);
      for (const { document, about } of stored) {
        for (const layer of document.layers) {
          const type = layer.annotations?.[predicateTypeKey] ?? layer.mediaType;
          if (!known.has(type) && layer.size <= mostStatement)
            found.push({ digest: layer.digest, type, size: layer.size, about });
        }
      }
    }
    return found;
  }

  #detail(found: OwnedRecord, model: BuildModel, failure?: BuildFailure): BuildDetail {
    const counts = found.record.CompletedAt === undefined ? model.counts : undefined;
    return { ...summaryOf(found, counts), ...recordParts(found.record), ...model.parts, failure };
  }

  #summary(each: OwnedRecord): BuildSummary {
    const { record } = each;
    if (record.CompletedAt !== undefined) return summaryOf(each);
    return summaryOf(each, this.#counts(each));
  }

  /** The steps of a build that has not ended. */
  #counts(each: OwnedRecord): BuildSummary['steps'] {
    const { Ref, numTotalSteps, numCompletedSteps, numCachedSteps } = each.record;
    const counts = this.#observed.jobs.running(ownersReach(each), Ref)?.counts;
    const { total, completed, cached } = counts ?? {
      total: numTotalSteps,
      completed: numCompletedSteps,
      cached: numCachedSteps,
    };
    return { total, completed, cached };
  }

  async #past(found: OwnedRecord): Promise<BuildModel> {
    const { owner, record } = found;
    const key = JSON.stringify([owner, record.Ref, String(record.CompletedAt?.seconds), record.logs?.digest]);
    const known = this.#kept.get(key);
    if (known !== undefined) {
      this.#kept.delete(key);
      this.#kept.set(key, known);
      return known;
    }
    const { history } = this.#observed;
    const model = new BuildModel();
    const details = await history.detailsOf(ownersReach(found), record.Ref);
    if (details !== undefined) model.add(details);
    for await (const message of (await history.statusOf(ownersReach(found), record.Ref)) ?? []) {
      if (isDue()) await nextTurn();
      replay(message, model);
    }
    model.end();
    this.#kept.set(key, model);
    this.#forgetOld();
    return model;
  }

  #forgetOld(): void {
    let bytes = 0;
    for (const { size } of this.#kept.values()) bytes += size;
    for (const [key, { size }] of this.#kept) {
      if ((this.#kept.size <= mostKept && bytes <= mostBytes) || this.#kept.size === 1) return;
      this.#kept.delete(key);
      bytes -= size;
    }
  }

  async #failure(found: OwnedRecord, model: BuildModel): Promise<BuildFailure | undefined> {
    const { error, externalError } = found.record;
    if (error === undefined) return undefined;
    const blob =
      externalError && (await this.#observed.history.wholeBlob(ownersReach(found), externalError.digest));
    const details = blob === undefined ? [] : fromBinary(StatusSchema, blob).details;
    const { exitCode, source, vertex } = readErrorDetails(
      details.map(({ typeUrl, value }) => ({ type: typeUrl, value })),
    );
    return { ...readMessage(error.message), exitCode, step: vertex, place: source && model.placeOf(source) };
  }
}

function noBuild(ref: string): Error {
  return fail('not-found', 'client', `there is no build ${ref}`, {
    hint: 'It may have been removed from the history, or be somebody else’s.',
  });
}

/** The reach of a build's owner alone: of two owners' builds of one reference, this one is meant. */
function ownersReach({ owner }: OwnedRecord): Reach {
  return { owner, all: false };
}
