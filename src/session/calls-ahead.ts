/**
 * Begins to read a client's folders before a build asks for them: those that a build like it has asked for last time. A
 * client lists its files while the build still reads its Dockerfile, looks up images and is planned.
 */
import { constants } from 'node:http2';
import { canceled } from '../errors/index.ts';
import type { GrpcCall, Metadata } from '../grpc/index.ts';

/** The kinds of builds that are remembered, the folders of each, and the length of one's description. */
const mostPurposes = 512;
const mostCalls = 16;
const longestCall = 16 << 10;
/** How many calls of a session are remembered. */
const mostMade = 256;
/** How old a list of files may be before a build gets it, in ms. */
const oldest = 5_000;

/** A call that builds of one kind make. */
interface Known {
  metadata: Metadata;
  /** From 1 on the call is begun ahead. One that was begun in vain begins at -1. */
  trust: number;
}

/** What builds have asked of clients' folders, by the kind of the builds. */
export class CallMemory {
  readonly #known = new Map<string, Map<string, Known>>();

  /** The calls that are to be begun for a build, by their keys. */
  callsOf(purpose: string): [key: string, metadata: Metadata][] {
    const calls = [...(this.#known.get(purpose) ?? [])].filter(([, { trust }]) => trust > 0);
    return calls.map(([key, { metadata }]) => [key, metadata]);
  }

  /** Notes the calls that a build has made, and those that were begun for it. */
  note(purpose: string, made: ReadonlyMap<string, Metadata>, begun: ReadonlySet<string>): void {
    const before = this.#known.get(purpose);
    const calls = new Map<string, Known>();
    for (const [key, metadata] of made) {
      calls.set(key, { metadata, trust: Math.min(1, (before?.get(key)?.trust ?? 0) + 1) });
    }
    for (const [key, { metadata, trust }] of before ?? []) {
      if (calls.has(key) || calls.size >= mostCalls) continue;
      if (begun.has(key) || trust < 0) calls.set(key, { metadata, trust: -1 });
    }
    this.#known.delete(purpose);
    if (calls.size === 0) return;
    this.#known.set(purpose, calls);
    if (this.#known.size > mostPurposes)
      for (const first of this.#known.keys()) {
        this.#known.delete(first);
        break;
      }
  }
}

/** A call that nobody has asked for yet. Its bytes wait within the limits of flow control. */
interface Ahead {
  call: Promise<GrpcCall | undefined>;
  /** On performance.now()'s clock. */
  since: number;
  stop: AbortController;
  failed: boolean;
}

interface Round {
  made: Map<string, Metadata>;
  begun: Set<string>;
}

/** The calls of one session that are begun ahead. */
export class CallsAhead {
  readonly #memory: CallMemory;
  readonly #owner: string;
  readonly #open: (metadata: Metadata, signal: AbortSignal) => Promise<GrpcCall | undefined>;
  readonly #ahead = new Map<string, Ahead>();
  /** The keys of calls that were made: none is begun ahead a second time. */
  readonly #made = new Set<string>();
  readonly #rounds = new Set<Round>();

  /** `owner` tells the client's folders from others'. `open` gives undefined for a client that serves no such call. */
  constructor(
    memory: CallMemory,
    owner: string,
    open: (metadata: Metadata, signal: AbortSignal) => Promise<GrpcCall | undefined>,
  ) {
    this.#memory = memory;
    this.#owner = owner;
    this.#open = open;
  }

  /**
   * Begins the calls that the last build of this purpose made. The returned function says that the build is over: what it
   * has not asked for is canceled.
   */
  expect(purpose: string): () => void {
    const key = JSON.stringify([this.#owner, purpose]);
    const round: Round = { made: new Map(), begun: new Set() };
    this.#rounds.add(round);
    for (const [call, metadata] of this.#memory.callsOf(key)) {
      if (this.#made.has(call) || this.#ahead.has(call)) continue;
      round.begun.add(call);
      this.#begin(call, metadata);
    }
    return () => {
      if (!this.#rounds.delete(round)) return;
      this.#memory.note(key, round.made, round.begun);
      for (const call of round.begun) this.#drop(call);
    };
  }

  /** The call with this metadata, if it was begun; undefined: it is to be opened. Firing `signal` cancels it. */
  async take(metadata: Metadata, signal: AbortSignal): Promise<GrpcCall | undefined> {
    const key = JSON.stringify(metadata);
    if (this.#rounds.size > 0 && key.length <= longestCall) {
      if (this.#made.size < mostMade) this.#made.add(key);
      for (const { made } of this.#rounds) if (made.size < mostCalls) made.set(key, metadata);
    }
    const ahead = this.#ahead.get(key);
    if (ahead === undefined) return undefined;
    if (ahead.failed || performance.now() - ahead.since > oldest) {
      this.#drop(key);
      return undefined;
    }
    this.#ahead.delete(key);
    const call = await ahead.call;
    if (call === undefined || ahead.failed || call.stream.closed) return undefined;
    const onAbort = () => ahead.stop.abort(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    call.stream.once('close', () => signal.removeEventListener('abort', onAbort));
    return call;
  }

  #begin(key: string, metadata: Metadata): void {
    const stop = new AbortController();
    const ahead: Ahead = {
      call: this.#open(metadata, stop.signal).catch(() => undefined),
      since: performance.now(),
      stop,
      failed: false,
    };
    this.#ahead.set(key, ahead);
    void ahead.call.then((call) => {
      call?.status.catch(() => {
        ahead.failed = true;
      });
    });
  }

  #drop(key: string): void {
    const ahead = this.#ahead.get(key);
    if (ahead === undefined) return;
    this.#ahead.delete(key);
    ahead.stop.abort(canceled('nobody asked for the folder'));
    // Bytes that have come keep a stream open.
    void ahead.call.then((call) => call?.stream.close(constants.NGHTTP2_CANCEL));
  }
}
