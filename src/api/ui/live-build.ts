/**
 * A running build for the pages that follow it. It is told of once for all of them: what has changed is put into words
 * ten times a second at most, however many pages there are, and a page that reads slowly gets the whole state once it
 * is ready again.
 */
import type { ServerResponse } from 'node:http';
import { fromBinary } from '@bufbuild/protobuf';
import { Deframer } from '../../grpc/index.ts';
import { StatusResponseSchema } from '../../pb/moby/buildkit/v1/status_pb.js';
import { nextTurn } from '../../workers/index.ts';
import type { BuildLog, Follower } from '../shared/build-log.ts';
import { replay } from '../shared/replay.ts';
import { BuildModel } from './build-model.ts';
import { eventText } from './event-stream.ts';
import type { BuildDetail } from './types.ts';

/** How often pages are told, in ms; a build with many pages adds a ms for each. */
const everyMs = 100;
/** The most bytes on their way to a page before it counts as slow. */
const maxAhead = 1 << 20;
/** How long a page may read nothing, in ms. It comes back when it can read again. */
const patienceMs = 60_000;

interface Page {
  response: ServerResponse;
  /** Since when it is slow, in ms since the epoch. */
  slowSince: number | undefined;
}

class LiveBuild extends BuildModel implements Follower {
  readonly #log: BuildLog;
  readonly #deframer = new Deframer();
  readonly #pages = new Set<Page>();
  /** The event with the whole state as it is now. Pages share its bytes, which may be many. */
  #whole: Buffer | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(log: BuildLog) {
    super();
    this.#log = log;
  }

  write(frames: Uint8Array): boolean {
    for (const message of this.#deframer.push(frames))
      replay(fromBinary(StatusResponseSchema, message), this);
    this.#whole = undefined;
    return true;
  }

  /** Resolves once all steps that the build has told of are known here. */
  async caughtUp(): Promise<void> {
    while (!this.ended && this.counts.total < this.#log.counts.total) await nextTurn();
    if (this.addFacts(this.#log.details)) this.#whole = undefined;
  }

  /** Tells a page of the build until it is over or the page is gone. `state` gives all of it. */
  follow(response: ServerResponse, state: () => BuildDetail): void {
    const page: Page = { response, slowSince: undefined };
    const tellAll = () => {
      this.#whole ??= Buffer.from(eventText('build', state()));
      this.#write(page, this.#whole);
    };
    tellAll();
    if (this.ended) return void response.end(eventText('end', {}));
    this.#pages.add(page);
    response.on('drain', () => {
      if (page.slowSince === undefined) return;
      page.slowSince = undefined;
      tellAll();
    });
    response.once('close', () => this.#pages.delete(page));
    this.#timer ??= setTimeout(() => this.#tell(), everyMs);
  }

  #write(page: Page, event: Buffer): void {
    const { response } = page;
    response.write(event);
    if (response.writableLength > maxAhead) page.slowSince ??= Date.now();
  }

  override end(): void {
    super.end();
    this.#tell();
    for (const { response } of this.#pages) response.end(eventText('end', {}));
    this.#pages.clear();
    clearTimeout(this.#timer);
  }

  #tell(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.addFacts(this.#log.details);
    const change = this.takeChange();
    if (change !== undefined) this.#whole = undefined;
    const event = change && this.#pages.size > 0 ? Buffer.from(eventText('change', change)) : undefined;
    for (const page of this.#pages) {
      const { slowSince, response } = page;
      if (slowSince !== undefined && Date.now() - slowSince > patienceMs) response.destroy();
      else if (slowSince === undefined && event !== undefined) this.#write(page, event);
    }
    if (this.#pages.size > 0 && !this.ended)
      this.#timer = setTimeout(() => this.#tell(), everyMs + this.#pages.size);
  }
}

const known = new WeakMap<BuildLog, LiveBuild>();

/** The one model of a running build; the first who asks for it has it made. */
export function liveBuild(log: BuildLog): LiveBuild {
  let live = known.get(log);
  if (live === undefined) {
    live = new LiveBuild(log);
    known.set(log, live);
    log.follow(live);
  }
  return live;
}

export type { LiveBuild };
