/** The builds that run now, by whichever API they came. They can be cancelled, counted, and waited for. */
import { type Reach, reaches } from '../../auth/index.ts';
import { canceled, type ErrorCode, fail, toDrydockError } from '../../errors/index.ts';

interface RunningBuild {
  /** The client's own ID for the build; '' when it gave none. Several builds may have one ID. */
  readonly id: string;
  /** The reference by which it is followed and recorded, once it has one. */
  ref?: string;
  /** The one who started it (`identityKey`). */
  readonly owner: string;
  readonly startedAt: number;
  abort(reason: unknown): void;
}

/** The end of a build, for metrics and logs. */
interface BuildEnd {
  outcome: 'ok' | 'canceled' | 'failed';
  code?: ErrorCode;
  /** ms */
  duration: number;
}

/** Why a build ends that a daemon which stops cannot finish in time. In gRPC it is UNAVAILABLE, over HTTP a 503. */
const handedBack = fail(
  'unavailable',
  'host',
  'the daemon is shutting down, and the build was not done in time',
  {
    hint: 'Build again: another daemon, or this one once it is up, goes on from the cache.',
  },
);

/**
 * The running builds of a daemon. Each runs inside `run`, from its request to its end; `drain` and `handBack` end the
 * daemon's work.
 */
export class Builds {
  readonly #running = new Set<RunningBuild>();
  readonly #onEnd: (end: BuildEnd) => void;
  readonly #onBegin: () => void;
  #closed = false;
  #idle: PromiseWithResolvers<void> | undefined;

  constructor(onEnd: (end: BuildEnd) => void = () => {}, onBegin: () => void = () => {}) {
    this.#onEnd = onEnd;
    this.#onBegin = onBegin;
  }

  get size(): number {
    return this.#running.size;
  }

  /**
   * Runs the work of a build with a signal. The signal fires when the build is cancelled by its ID, when `signal`
   * fires, or when the daemon gives the build up. A build that is recorded under another name than its ID tells it
   * (`called`). Throws `unavailable` once the daemon is going down and for a build
   * that it has handed back (the same build can be made elsewhere), and the work's own errors.
   */
  async run<T>(
    { id, owner }: Pick<RunningBuild, 'id' | 'owner'>,
    signal: AbortSignal,
    work: (signal: AbortSignal, called: (ref: string) => void) => Promise<T>,
  ): Promise<T> {
    if (this.#closed) {
      throw fail('unavailable', 'host', 'the daemon is shutting down and takes no new builds', {
        hint: 'Try again once it is up.',
      });
    }
    const controller = new AbortController();
    const forward = () => controller.abort(signal.reason);
    if (signal.aborted) forward();
    else signal.addEventListener('abort', forward, { once: true });
    const startedAt = Date.now();
    const build: RunningBuild = { id, owner, startedAt, abort: (reason) => controller.abort(reason) };
    this.#running.add(build);
    this.#onBegin();
    let end: Omit<BuildEnd, 'duration'> = { outcome: 'ok' };
    try {
      return await work(controller.signal, (ref) => {
        build.ref = ref;
      });
    } catch (err) {
      const { aborted, reason } = controller.signal;
      const error = reason === handedBack ? reason : aborted ? canceled(reason) : toDrydockError(err);
      end = { outcome: error.code === 'canceled' ? 'canceled' : 'failed', code: error.code };
      throw error;
    } finally {
      signal.removeEventListener('abort', forward);
      this.#running.delete(build);
      this.#onEnd({ ...end, duration: Date.now() - startedAt });
      if (this.#running.size === 0) this.#idle?.resolve();
    }
  }

  /** Cancels all builds of an ID or a reference that are within reach, and returns how many there were. */
  cancel(reach: Reach, id: string): number {
    const doomed = [...this.#running].filter(
      (build) => (build.id === id || build.ref === id) && reaches(reach, build.owner),
    );
    for (const build of doomed) build.abort(new Error(`build ${id} was cancelled`));
    return doomed.length;
  }

  /** Takes no more builds; resolves when none runs. */
  async drain(): Promise<void> {
    this.#closed = true;
    if (this.#running.size === 0) return;
    this.#idle ??= Promise.withResolvers();
    await this.#idle.promise;
  }

  /** Cancels all; their clients are told to try again elsewhere, or later. */
  handBack(): void {
    for (const build of this.#running) build.abort(handedBack);
  }
}
