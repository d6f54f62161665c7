/** From where the page has its data: the daemon's API, or, of an archive, the document itself. */
import type {
  ApiFailure,
  BuildChange,
  BuildDetail,
  BuildSummary,
  Compared,
  LogLines,
  LogMatches,
  Me,
} from '../../src/api/ui/types.ts';
import { api, buildAt, buildsAt, firstBuilds, takeStarted } from './first.ts';

/** Hears of a build: its whole state, what changes, its end. */
export interface BuildListener {
  build(build: BuildDetail): void;
  change(change: BuildChange): void;
  end(): void;
  /** The connection is lost; it is tried again. */
  lost(): void;
  /** The daemon is there and does not tell of the build, which may not be there any more. It is tried again. */
  refused(): void;
}

/** Hears of builds in general. */
interface BuildsListener {
  build(build: BuildSummary): void;
  gone(ref: string): void;
  /** The stream has begun, or has begun again: what came before it is not told. */
  open(): void;
  lost(): void;
}

/** What is done to builds. Each throws `ApiError`. */
export interface BuildActions {
  cancel(ref: string): Promise<unknown>;
  pin(ref: string, pinned: boolean): Promise<unknown>;
  /** Removes the record of an ended build. */
  remove(ref: string): Promise<unknown>;
}

export interface Source {
  /** Set for an archive of one build: there is nothing else to see. */
  readonly archive?: string;
  me(): Promise<Me>;
  /** The newest builds, or all of them, up to 10,000. */
  builds(which: 'newest' | 'all'): Promise<{ builds: BuildSummary[]; more: boolean }>;
  followBuilds(listener: BuildsListener): () => void;
  build(ref: string): Promise<BuildDetail>;
  follow(ref: string, listener: BuildListener): () => void;
  log(ref: string, step: string, from: number, count: number): Promise<LogLines>;
  search(ref: string, step: string, text: string): Promise<LogMatches>;
  document(ref: string, digest: string): Promise<unknown>;
  /** What explain tells of two builds; undefined where nobody can tell. */
  compare?(one: string, other: string): Promise<Compared>;
  /** What may be done to builds; undefined where nothing may. */
  readonly actions?: BuildActions;
  /** Addresses of files to save; undefined where there are none. */
  logAddress(ref: string, step: string): string | undefined;
  archiveAddress(ref: string): string | undefined;
}

/** An answer that is an error. */
export class ApiError extends Error {
  readonly status: number;
  readonly hint: string | undefined;

  constructor(status: number, message: string, hint?: string) {
    super(message);
    this.status = status;
    this.hint = hint;
  }
}

/** How long is waited before a question that got no answer is asked again, in ms. */
const waits = [200, 1000, 3000];

/**
 * Asks again what only reads: browsers break off what is under way when an interface of the machine comes or goes, as
 * those of steps do.
 */
async function fetched(address: string, init: RequestInit | undefined): Promise<Response> {
  for (let tries = 0; ; tries++) {
    try {
      return await ((init === undefined ? takeStarted(address) : undefined) ?? fetch(address, init));
    } catch {
      const wait = waits[tries];
      if (wait === undefined || (init?.method ?? 'GET') !== 'GET') {
        throw new ApiError(
          0,
          'The daemon does not answer.',
          'It may have been stopped. Load the page again once it is there.',
        );
      }
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

/** Asks the API. Throws `ApiError`. */
export async function ask<T>(path: string, init?: RequestInit): Promise<T> {
  const response = await fetched(path.startsWith('/') ? path : `${api}/${path}`, init);
  const text = await response.text();
  if (response.ok) return JSON.parse(text) as T;
  let failure: ApiFailure['error'] | undefined;
  try {
    failure = (JSON.parse(text) as ApiFailure).error;
  } catch {
    // Not from the API.
  }
  throw new ApiError(
    response.status,
    failure?.message ?? `The daemon answered ${response.status}.`,
    failure?.hint,
  );
}

/** The most builds that the API lists. */
const mostBuilds = 10_000;

/** The API of the daemon that has sent the page. */
export const httpSource: Source = {
  me: () => ask<Me>('me'),
  builds: (which) => ask(buildsAt(which === 'newest' ? firstBuilds : mostBuilds)),
  build: (ref) => ask<BuildDetail>(buildAt(ref)),
  log: (ref, step, from, count) => ask(`${buildAt(ref)}/steps/${step}/log?from=${from}&count=${count}`),
  search: (ref, step, text) => ask(`${buildAt(ref)}/steps/${step}/log?search=${encodeURIComponent(text)}`),
  document: (ref, digest) => ask(`${buildAt(ref)}/documents/${digest}`),
  logAddress: (ref, step) => `${buildAt(ref)}/steps/${step}/log?format=text`,
  archiveAddress: (ref) => `${buildAt(ref)}/archive`,
  compare: (one, other) => ask(`${buildAt(one)}/compare/${encodeURIComponent(other)}`),
  actions: {
    cancel: (ref) => ask(`${buildAt(ref)}/cancel`, { method: 'POST' }),
    pin: (ref, pinned) =>
      ask(`${buildAt(ref)}/pin`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ pinned }),
      }),
    remove: (ref) => ask(buildAt(ref), { method: 'DELETE' }),
  },
  followBuilds: (listener) =>
    stream(`${api}/events`, {
      open: () => listener.open(),
      lost: () => listener.lost(),
      events: {
        build: (data) => listener.build(data as BuildSummary),
        gone: (data) => listener.gone((data as { ref: string }).ref),
      },
    }),
  follow(ref, listener) {
    const stop = stream(`${buildAt(ref)}/events`, {
      open: () => {},
      lost: () => listener.lost(),
      refused: () => listener.refused(),
      events: {
        build: (data) => listener.build(data as BuildDetail),
        change: (data) => listener.change(data as BuildChange),
        end: () => {
          stop();
          listener.end();
        },
      },
    });
    return stop;
  },
};

interface StreamOptions {
  open(): void;
  lost(): void;
  refused?(): void;
  events: Record<string, (data: unknown) => void>;
}

/**
 * Listens to a stream of events while the page can be seen: browsers open six connections to a server at most, which
 * more pages than that would share.
 */
function stream(address: string, { open, lost, refused, events }: StreamOptions): () => void {
  let source: EventSource | undefined;
  let over = false;
  const begin = () => {
    if (over || source !== undefined || document.hidden) return;
    source = new EventSource(address);
    source.onopen = open;
    source.onerror = () => {
      lost();
      // A stream that was refused is not tried again by itself.
      if (source?.readyState === EventSource.CLOSED) {
        source = undefined;
        setTimeout(begin, 3000);
        refused?.();
      }
    };
    for (const [name, tell] of Object.entries(events)) {
      source.addEventListener(name, (event) => tell(JSON.parse((event as MessageEvent<string>).data)));
    }
  };
  const end = () => {
    source?.close();
    source = undefined;
  };
  const seen = () => (document.hidden ? end() : begin());
  document.addEventListener('visibilitychange', seen);
  begin();
  return () => {
    over = true;
    document.removeEventListener('visibilitychange', seen);
    end();
  };
}
