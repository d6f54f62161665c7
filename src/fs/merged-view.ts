/** Several views as one: their folders are joined, and the first view that has a file gives it. */
import { compareNames } from '../linux/index.ts';
import type { FsEntry, FsView } from './view.ts';

/** Joins views. `readdir` throws as the first view does when none has the folder. */
export class MergedView implements FsView {
  readonly #views: readonly FsView[];
  /** Entry → the view that it is from, for its attributes. */
  readonly #owner = new WeakMap<FsEntry, FsView>();

  constructor(views: readonly FsView[]) {
    this.#views = views;
  }

  lstat(path: string): FsEntry | undefined {
    for (const view of this.#views) {
      const entry = view.lstat(path);
      if (entry !== undefined) return this.#from(view, entry);
    }
    return undefined;
  }

  readdir(path: string): FsEntry[] {
    return this.#joined(path, (view) => view.readdir(path));
  }

  *list(path: string): Generator<void, FsEntry[]> {
    yield;
    return this.readdir(path);
  }

  xattrs(entry: FsEntry): [name: string, value: Buffer][] {
    return (this.#owner.get(entry) ?? (this.#views[0] as FsView)).xattrs(entry);
  }

  #joined(path: string, entriesOf: (view: FsView) => FsEntry[]): FsEntry[] {
    const having = this.#views.filter((view) => view.lstat(path)?.type === 'dir');
    const found = new Map<string, FsEntry>();
    for (const view of having.length === 0 ? this.#views.slice(0, 1) : having) {
      for (const entry of entriesOf(view)) {
        if (!found.has(entry.name)) found.set(entry.name, this.#from(view, entry));
      }
    }
    return [...found.values()].sort((a, b) => compareNames(a.name, b.name));
  }

  #from(view: FsView, entry: FsEntry): FsEntry {
    this.#owner.set(entry, view);
    return entry;
  }
}
