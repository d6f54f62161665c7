/** Walks the contents of a layer in the order of its tar. */
import { fail } from '../errors/index.ts';
import {
  entryOf,
  type FsEntry,
  type FsView,
  isOpaque,
  isWhiteout,
  lstatHost,
  namesOfHost,
} from '../fs/index.ts';
import { compareNames, lgetxattr, overlayXattr } from '../linux/index.ts';
import { diffViews } from './diff.ts';

/** One item of a layer, as its tar has it. */
export type LayerItem =
  | { kind: 'entry'; entry: FsEntry }
  /** The path is deleted. */
  | { kind: 'whiteout'; path: string }
  /** The folder, whose entry came before, hides the contents of the folder below it. */
  | { kind: 'opaque'; path: string };

/**
 * Walks a layer folder in overlayfs's format: sorted by name within each folder, folders before their contents, without
 * the root. Opaque marks and whiteouts that hide nothing in `lower` are left out (overlayfs marks every new folder);
 * `found.hides` tells whether there were any.
 */
export function* walkOverlayLayer(
  dir: string,
  lower: FsView,
  found: { hides: boolean } = { hides: false },
): Generator<LayerItem, void, undefined> {
  yield* walkFolder(dir, '', lower, true, found);
}

function* walkFolder(
  host: string,
  path: string,
  lower: FsView,
  inLower: boolean,
  found: { hides: boolean },
): Generator<LayerItem, void, undefined> {
  for (const name of namesOfHost(host, path).sort(compareNames)) {
    const child = `${path}/${name}`;
    const childHost = `${host}/${name}`;
    const st = lstatHost(childHost);
    if (st === undefined) continue;
    if (isWhiteout(st)) {
      found.hides = true;
      if (inLower && lower.lstat(child) !== undefined) yield { kind: 'whiteout', path: child };
      continue;
    }
    const entry = entryOf(child, name, childHost, st);
    yield { kind: 'entry', entry };
    if (entry.type !== 'dir') continue;
    checkRedirect(childHost, child);
    const marked = isOpaque(childHost);
    if (marked) found.hides = true;
    const merged = inLower && lower.lstat(child)?.type === 'dir';
    const opaque = merged && marked;
    if (opaque) yield { kind: 'opaque', path: child };
    yield* walkFolder(childHost, child, lower, merged && !opaque, found);
  }
}

/** Throws `unsupported` for a folder whose files are in another folder below (an overlayfs redirect). */
export function checkRedirect(host: string, path: string): void {
  if (lgetxattr(host, overlayXattr('redirect')) === undefined) return;
  throw fail('unsupported', 'store', `overlayfs renamed the folder ${path} by a redirect`, {
    hint: 'Turn redirects off: echo N > /sys/module/overlay/parameters/redirect_dir',
  });
}

/** Walks the difference of two whole trees in the same form. */
export function* walkDifference(lower: FsView, upper: FsView): Generator<LayerItem, void, undefined> {
  for (const change of diffViews(lower, upper)) {
    if (change.kind === 'delete') yield { kind: 'whiteout', path: change.path };
    else yield { kind: 'entry', entry: change.entry };
  }
}
