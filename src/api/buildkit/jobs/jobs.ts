/** Builds that run, by the reference that their clients gave them. */
import { fail } from '../../../errors/error.ts';
import { BuildLog } from './build-log.ts';

/** How long a watcher waits for its build to come: clients start both at once. */
const waitMs = 3000;

export class Jobs {
  readonly #running = new Map<string, BuildLog>();
  readonly #waiting = new Map<string, Set<() => void>>();

  /** Starts a build's log. Throws `exists` when one of this reference runs. */
  start(ref: string): BuildLog {
    if (this.#running.has(ref)) throw fail('exists', 'client', `job ID ${ref} exists`);
    const log = new BuildLog();
    this.#running.set(ref, log);
    for (const wake of [...(this.#waiting.get(ref) ?? [])]) wake();
    return log;
  }

  /** The build is over. */
  end(ref: string): void {
    this.#running.get(ref)?.end();
    this.#running.delete(ref);
  }

  running(ref: string): BuildLog | undefined {
    return this.#running.get(ref);
  }

  /** The build of this reference, waited for a little; undefined when it does not come. */
  async find(ref: string, signal: AbortSignal): Promise<BuildLog | undefined> {
    if (this.#running.has(ref) || signal.aborted) return this.#running.get(ref);
    const waiting = this.#waiting.get(ref) ?? new Set();
    this.#waiting.set(ref, waiting);
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        waiting.delete(done);
        if (waiting.size === 0 && this.#waiting.get(ref) === waiting) this.#waiting.delete(ref);
        resolve();
      };
      const timer = setTimeout(done, waitMs);
      signal.addEventListener('abort', done, { once: true });
      waiting.add(done);
    });
    return this.#running.get(ref);
  }
}
