/** The changes of a plain folder since a list of it was written. */
import type { FsEntry } from '../fs/index.ts';
import { comparePaths, isAsListed, type ListedEntry, ListWriter, readList, walkPlain } from './tree-list.ts';
import type { LayerItem } from './walk.ts';

/** The changes that a folder is to be packed with, and where the list of its present state goes. */
export interface SinceList {
  dir: string;
  /** The list of what was there before; undefined: all is new. */
  list?: string;
  /** A new file. */
  out: string;
}

/** The changes since the list, in a layer's order: what is new or other, and whiteouts of what is gone. */
export function* walkSince({ dir, list, out }: SinceList): Generator<LayerItem, void, undefined> {
  const writer = new ListWriter(out);
  const before = new Before(list === undefined ? [].values() : readList(list));
  try {
    for (const entry of walkPlain(dir)) {
      yield* before.goneBefore(entry.path);
      const was = before.take(entry);
      writer.put(entry);
      if (was === undefined || !isAsListed(was, entry)) yield { kind: 'entry', entry };
    }
    yield* before.goneBefore(undefined);
  } finally {
    before.close();
    writer.close();
  }
}

/** Writes the list of a folder as it is now: the worker task `layer.list`. */
export function listFolder({ dir, out }: Omit<SinceList, 'list'>): void {
  const writer = new ListWriter(out);
  try {
    for (const entry of walkPlain(dir)) writer.put(entry);
  } finally {
    writer.close();
  }
}

/** Goes through a list beside the walk of the folder. */
class Before {
  readonly #entries: Iterator<ListedEntry, void, undefined>;
  #next: ListedEntry | undefined;
  /** What was in a folder that is gone went with it. */
  #inGone = '';

  constructor(entries: Iterator<ListedEntry, void, undefined>) {
    this.#entries = entries;
    this.#advance();
  }

  /** Whiteouts of the entries before a path (undefined: of all the rest). */
  *goneBefore(path: string | undefined): Generator<LayerItem, void, undefined> {
    for (let was = this.#next; was !== undefined; was = this.#next) {
      if (path !== undefined && comparePaths(was.path, path) >= 0) return;
      this.#advance();
      if (this.#inGone !== '' && was.path.startsWith(this.#inGone)) continue;
      this.#inGone = `${was.path}/`;
      yield { kind: 'whiteout', path: was.path };
    }
  }

  /** What the list says of an entry. */
  take({ path, type }: FsEntry): ListedEntry | undefined {
    const was = this.#next;
    if (was?.path !== path) return undefined;
    this.#advance();
    // A file in the place of a folder takes the folder's contents away.
    if (was.type === 'dir' && type !== 'dir') this.#inGone = `${path}/`;
    return was;
  }

  close(): void {
    this.#entries.return?.();
  }

  #advance(): void {
    this.#next = this.#entries.next().value ?? undefined;
  }
}
