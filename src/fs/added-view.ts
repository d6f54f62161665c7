/** A view with the files of a folder on this host added at its top. */
import { fail } from '../errors/index.ts';
import { compareNames } from '../linux/index.ts';
import { FolderView } from './folder-view.ts';
import type { FsEntry, FsView } from './view.ts';

/** Adds the files of a folder to a view. Throws `invalid` (hop `export`) when the view has an entry of a file's name. */
export class AddedView implements FsView {
  readonly #base: FsView;
  readonly #added: ReadonlyMap<string, FsEntry>;
  readonly #root: FsEntry | undefined;

  constructor(base: FsView, dir: string) {
    this.#base = base;
    const folder = new FolderView({ kind: 'folder', dir, rootOwned: true });
    const files = folder.readdir('/').filter(({ type }) => type === 'file');
    for (const { path, name } of files) {
      if (base.lstat(path) === undefined) continue;
      throw fail('invalid', 'export', `the result has a file ${JSON.stringify(name)} of its own`, {
        hint: 'Give attestations another name: attestation-prefix=… in the output, or filename=… of the provenance.',
      });
    }
    this.#added = new Map(files.map((entry) => [entry.path, entry]));
    this.#root = base.lstat('/') ?? folder.lstat('/');
  }

  lstat(path: string): FsEntry | undefined {
    return path === '/' ? this.#root : (this.#added.get(path) ?? this.#base.lstat(path));
  }

  readdir(path: string): FsEntry[] {
    return this.#with(path, this.#base.readdir(path));
  }

  *list(path: string): Generator<void, FsEntry[]> {
    return this.#with(path, yield* this.#base.list(path));
  }

  xattrs(entry: FsEntry): [name: string, value: Buffer][] {
    return this.#added.has(entry.path) ? [] : this.#base.xattrs(entry);
  }

  #with(path: string, entries: FsEntry[]): FsEntry[] {
    if (path !== '/') return entries;
    return [...entries, ...this.#added.values()].sort((a, b) => compareNames(a.name, b.name));
  }
}
