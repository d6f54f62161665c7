/** The folders on the way to where a tree is written, each opened in the one before it. */
import { constants } from 'node:fs';
import { closeFd, openPath } from '../linux/index.ts';

interface OpenFolder {
  fd: number;
  /** What people know it by. */
  shown: string;
}

/**
 * A stack of open folders. Paths are made of the descriptor of the innermost, so that they lead there whatever others do
 * to the names on the way: a folder that is swapped for a symlink leads nowhere.
 */
export class OpenFolders {
  readonly #open: OpenFolder[] = [];

  /** Opens the outermost folder, a real one. Throws ENOTDIR, ELOOP. */
  constructor(dest: string) {
    this.#push(dest, dest);
  }

  /** The path of a name in the innermost folder. */
  at(name: string): string {
    return `${pathOf(this.#top)}/${name}`;
  }

  /** The same for people. */
  shown(name: string): string {
    return `${this.#top.shown}/${name}`;
  }

  /** The path of the innermost folder itself, which is no link. */
  get here(): string {
    return `${pathOf(this.#top)}/.`;
  }

  /** Opens a folder in the innermost one. Throws ENOTDIR, ELOOP when it is none (any more). */
  enter(name: string): void {
    this.#push(this.at(name), this.shown(name));
  }

  leave(): void {
    const folder = this.#open.pop();
    if (folder !== undefined) closeFd(folder.fd);
  }

  /** An error with the paths that people know. */
  readable(err: unknown): unknown {
    if (!(err instanceof Error)) return err;
    for (const { fd, shown } of this.#open)
      err.message = err.message.replaceAll(`/proc/self/fd/${fd}/`, `${shown}/`);
    return err;
  }

  close(): void {
    while (this.#open.length > 0) this.leave();
  }

  get #top(): OpenFolder {
    return this.#open.at(-1) as OpenFolder;
  }

  #push(path: string, shown: string): void {
    this.#open.push({ fd: openPath(path, constants.O_DIRECTORY | constants.O_NOFOLLOW), shown });
  }
}

function pathOf({ fd }: OpenFolder): string {
  return `/proc/self/fd/${fd}`;
}
