import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { errnoCode } from '../../errors/index.ts';
import { runTask } from '../../workers/index.ts';

/**
 * The trash for files and folders that no row names any more. A rename takes them out of sight at once; a worker
 * deletes them afterwards. The trash is in the process's run folder, so the rest is deleted with the run when the
 * process is killed.
 */
export class Trash {
  readonly #dir: string;
  #count = 0;
  #waiting: string[] = [];
  #work: Promise<void> = Promise.resolve();

  constructor(runDir: string) {
    this.#dir = join(runDir, 'trash');
    mkdirSync(this.#dir, { mode: 0o700 });
  }

  /** Moves a file or folder into the trash; false when it does not exist. The next `empty` deletes it. */
  take(path: string): boolean {
    const to = join(this.#dir, String(++this.#count));
    try {
      renameSync(path, to);
    } catch (err) {
      if (errnoCode(err) === 'ENOENT') return false;
      throw err;
    }
    this.#waiting.push(to);
    return true;
  }

  /** Starts deleting in the background. What could not be deleted is tried again next time, and by the sweep of this run. */
  empty(): void {
    if (this.#waiting.length === 0) return;
    const paths = this.#waiting;
    this.#waiting = [];
    this.#work = this.#work.then(() =>
      runTask('store.remove', { paths }).then(
        () => {},
        () => {
          this.#waiting.push(...paths);
        },
      ),
    );
  }

  /** Resolves when everything in the trash has been deleted. */
  settled(): Promise<void> {
    return this.#work;
  }
}
