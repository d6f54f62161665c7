/** The running builds, by the reference that their clients gave them. */
import type { Reach } from '../../../auth/index.ts';
import { fail } from '../../../errors/index.ts';
import { BuildLog } from '../../shared/build-log.ts';
import { Owned } from '../../shared/owned.ts';

/** The logs of running builds, by owner and reference. */
export class Jobs {
  readonly #running = new Owned<BuildLog>();
  readonly #folder: string | undefined;

  /** `folder` is where files lie for a moment that keep much output; default the system's for temporary files. */
  constructor(folder?: string) {
    this.#folder = folder;
  }

  /**
   * Begins the log of a build, or goes on with one. The function ends the log, and the build is no longer known. Throws
   * `exists` when the owner has a running build of this reference.
   */
  start(owner: string, ref: string, log = this.newLog()): { log: BuildLog; end(): void } {
    const forget = this.#running.add(owner, ref, log);
    if (forget === undefined) throw fail('exists', 'client', `job ID ${ref} exists`);
    const end = () => {
      log.end();
      forget();
    };
    return { log, end };
  }

  /** A log that belongs to no build yet. */
  newLog(): BuildLog {
    return new BuildLog(this.#folder === undefined ? {} : { folder: this.#folder });
  }

  running(reach: Reach, ref: string): BuildLog | undefined {
    return this.#running.get(reach, ref);
  }

  /** The running build of this reference, after a short wait; undefined when it does not come. */
  find(reach: Reach, ref: string, signal: AbortSignal): Promise<BuildLog | undefined> {
    return this.#running.find(reach, ref, signal);
  }
}
