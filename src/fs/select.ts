/** Selects parts of a view by path, wildcard, and include and exclude patterns, for copies and digests alike. */
import { type DrydockError, fail } from '../errors/index.ts';
import { compileGlob } from '../patterns/index.ts';
import { splitWildcards } from '../words/index.ts';
import { IgnoreMatcher, type MatchState } from './ignore.ts';
import { baseName, cleanPath, dirName, joinPath, nearestName } from './paths.ts';
import { resolvePath } from './resolve.ts';
import { lstatHost } from './stat.ts';
import type { FsEntry, FsView, ViewSpec } from './view.ts';

/** One selected tree. */
export interface Source {
  /** The file or folder itself, after links were followed as asked. */
  entry: FsEntry;
  /** The path relative to the literal part of the asked path: '' unless a wildcard found it. */
  match: string;
  /** The entry's name before its link was followed. */
  name: string;
  /**
   * True when a wildcard found the entry and an exclude leaves it out: nothing of it is copied, but it counts as a
   * match.
   */
  excluded?: boolean;
}

interface SourceOptions {
  wildcard: boolean;
  followLinks: boolean;
  /**
   * Patterns that leave out some of the wildcard's finds, as Dockerfile's `COPY --exclude=*.txt hom* /mydir/` documents
   * it.
   */
  excludes?: readonly string[];
  /** Called for each entry that is compared with a wildcard; may throw. */
  giveWay?(): void;
}

/**
 * The trees that a path selects, in byte order. A wildcard may match none. Throws `not-found` when the path, or its
 * part before the first wildcard, is missing.
 *
 *     resolveSources(view, spec, '/src/*.go', { wildcard: true, followLinks: true }) // matches: a.go, b.go
 */
export function resolveSources(view: FsView, spec: ViewSpec, path: string, options: SourceOptions): Source[] {
  const followLast = options.followLinks;
  const { base, pattern } = options.wildcard
    ? splitWildcards(cleanPath(path))
    : { base: cleanPath(path), pattern: '' };
  const entry = view.lstat(resolvePath(view, base, { followLast }));
  if (entry === undefined) throw missing(view, spec, base);
  if (pattern === '') return [{ entry, match: '', name: baseName(base) }];
  const sources: Source[] = [];
  const globs = pattern.split('/').map((part) => compileGlob(part));
  const excludes = options.excludes?.length ? new IgnoreMatcher(options.excludes) : undefined;
  const search = (dir: FsEntry, depth: number, match: string) => {
    if (dir.type !== 'dir') return;
    for (const child of view.readdir(dir.path)) {
      options.giveWay?.();
      if (!globs[depth]?.(child.name)) continue;
      const found = match === '' ? child.name : `${match}/${child.name}`;
      if (depth + 1 < globs.length) search(child, depth + 1, found);
      else if (excludes?.matches(found))
        sources.push({ entry: child, match: found, name: child.name, excluded: true });
      else {
        const real =
          child.type === 'symlink' && followLast
            ? view.lstat(resolvePath(view, child.path, { followLast }))
            : child;
        if (real === undefined) throw missing(view, spec, child.path);
        sources.push({ entry: real, match: found, name: child.name });
      }
    }
  };
  search(entry, 0, '');
  return sources;
}

/** Throws `not-found` for the first of the paths that is missing in the view. */
export function requirePaths(view: FsView, spec: ViewSpec, paths: readonly string[] = []): void {
  for (const path of paths) {
    const real = resolvePath(view, path, { followLast: false });
    if (view.lstat(real) === undefined) throw missing(view, spec, cleanPath(path));
  }
}

/** The error for a missing path, in BuildKit's words, with a hint at a similar name. */
export function missing(view: FsView, spec: ViewSpec, path: string): DrydockError {
  return fail('not-found', 'file', `${JSON.stringify(path)}: not found`, {
    hint: missingHint(view, spec, path),
    details: { path },
  });
}

function missingHint(view: FsView, spec: ViewSpec, path: string): string | undefined {
  if (
    spec.kind === 'folder' &&
    spec.excludes !== undefined &&
    lstatHost(`${spec.dir}${path}`) !== undefined
  ) {
    const by = new IgnoreMatcher(spec.excludes).decisive(path.slice(1));
    return `${path.slice(1)} is there, but .dockerignore excludes it${by === undefined ? '' : ` by its line ${by}`}.`;
  }
  let at = path;
  while (at !== '/') {
    const parent = resolvePath(view, dirName(at), { followLast: true });
    if (view.lstat(parent)?.type === 'dir') {
      const names = view.readdir(parent).map((entry) => entry.name);
      const near = nearestName(baseName(at), names);
      return near === undefined ? undefined : `Did you mean ${joinPath(dirName(at), near)}?`;
    }
    at = dirName(at);
  }
  return undefined;
}

interface Visitor {
  /**
   * Called for a folder before its contents. `asParent`: the folder is there only because something below it is
   * selected.
   */
  enter(entry: FsEntry, rel: string, asParent: boolean): void;
  /** Called for each entry that is compared with patterns, selected or not; may throw. */
  giveWay?(): void;
  /** Called for every other entry. */
  file(entry: FsEntry, rel: string): void;
  /** Called when everything in an entered folder has been visited. */
  leave(entry: FsEntry, rel: string): void;
}

interface Filter {
  includes?: readonly string[];
  excludes?: readonly string[];
}

interface Frame {
  entry: FsEntry;
  rel: string;
  entered: boolean;
  include?: MatchState;
  exclude?: MatchState;
}

/**
 * Visits a tree in byte order. The root itself is always selected; patterns apply to paths relative to it. A folder
 * that is not selected itself is entered when the first selected file below it is reached.
 *
 *     walkSelected(view, root, { includes: ['docs'], excludes: ['docs/draft'] }, visitor);
 */
export function walkSelected(view: FsView, root: FsEntry, filter: Filter, visitor: Visitor): void {
  const includes = filter.includes?.length ? new IgnoreMatcher(filter.includes) : undefined;
  const excludes = filter.excludes?.length ? new IgnoreMatcher(filter.excludes) : undefined;
  const stack: Frame[] = [];
  const enterParents = () => {
    for (const frame of stack) {
      if (frame.entered) continue;
      frame.entered = true;
      visitor.enter(frame.entry, frame.rel, true);
    }
  };
  const visitDir = (frame: Frame) => {
    stack.push(frame);
    for (const child of view.readdir(frame.entry.path)) {
      visitor.giveWay?.();
      const rel = frame.rel === '' ? child.name : `${frame.rel}/${child.name}`;
      const include = includes?.match(rel, frame.include);
      const exclude = excludes?.match(rel, frame.exclude);
      const selected = include?.matched !== false && exclude?.matched !== true;
      if (child.type === 'dir') {
        if (!selected) {
          if (include?.matched === false && !includes!.canDifferBelow(rel, include)) continue;
          if (exclude?.matched === true && !excludes!.canDifferBelow(rel, exclude)) continue;
        } else {
          enterParents();
          visitor.enter(child, rel, false);
        }
        visitDir({ entry: child, rel, entered: selected, include, exclude });
      } else if (selected) {
        enterParents();
        visitor.file(child, rel);
      }
    }
    stack.pop();
    if (frame.entered) visitor.leave(frame.entry, frame.rel);
  };
  if (root.type !== 'dir') {
    visitor.file(root, '');
    return;
  }
  visitor.enter(root, '', false);
  visitDir({ entry: root, rel: '', entered: true });
}
