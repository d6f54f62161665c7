/** From where the page has its data: the daemon's API, or, of an archive, the document itself. */
import type {
  ApiFailure,
  BuildChange,
  BuildDetail,
  BuildSummary,
  LogLines,
  LogMatches,
  Me,
} from '../../src/api/ui/types.ts';

/** Hears of a build: its whole state, what changes, its end. */
export interface BuildListener {
  build(build: BuildDetail): void;
  change(change: BuildChange): void;
  end(): void;
  /** The connection is lost; it is tried again. */
  lost(): void;
}

/** Hears of builds in general. */
interface BuildsListener {
  build(build: BuildSummary): void;
  gone(ref: string): void;
  /** The stream has begun, or has begun again: what came before it is not told. */
  open(): void;
  lost(): void;
}

export interface Source {
  /** Set for an archive of one build: there is nothing else to see. */
  readonly archive?: string;
  me(): Promise<Me>;
  builds(): Promise<{ builds: BuildSummary[]; more: boolean }>;
  followBuilds(listener: BuildsListener): () => void;
  build(ref: string): Promise<BuildDetail>;
  follow(ref: string, listener: BuildListener): () => void;
  log(ref: string, step: string, from: number, count: number): Promise<LogLines>;
  search(ref: string, step: string, text: string): Promise<LogMatches>;
  document(ref: string, digest: string): Promise<unknown>;
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

const api = '/ui/api/v1';
const at = (ref: string) => `${api}/builds/${encodeURIComponent(ref)}`;

/** How long is waited before a question that got no answer is asked again, in ms. */
const waits = [200, 1000, 3000];

/**
 * Asks again what only reads: browsers break off what is under way when an interface of the machine comes or goes, as
 * those of steps do.
 */
async function fetched(address: string, init: RequestInit | undefined): Promise<Response> {
  for (let tries = 0; ; tries++) {
    try {
      return await fetch(address, init);
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

/** The API of the daemon that has sent the page. */
export const httpSource: Source = {
  me: () => ask<Me>('me'),
  builds: () => ask('builds?limit=10000'),
  build: (ref) => ask<BuildDetail>(at(ref)),
  log: (ref, step, from, count) => ask(`${at(ref)}/steps/${step}/log?from=${from}&count=${count}`),
  search: (ref, step, text) => ask(`${at(ref)}/steps/${step}/log?search=${encodeURIComponent(text)}`),
  document: (ref, digest) => ask(`${at(ref)}/documents/${digest}`),
  logAddress: (ref, step) => `${at(ref)}/steps/${step}/log?format=text`,
  archiveAddress: (ref) => `${at(ref)}/archive`,
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
    const stop = stream(`${at(ref)}/events`, {
      open: () => {},
      lost: () => listener.lost(),
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
  events: Record<string, (data: unknown) => void>;
}

/**
 * Listens to a stream of events while the page can be seen: browsers open six connections to a server at most, which
 * more pages than that would share.
 */
function stream(address: string, { open, lost, events }: StreamOptions): () => void {
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
