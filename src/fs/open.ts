/** Opens a view from its description. */
import { fail } from '../errors/index.ts';
import { AddedView } from './added-view.ts';
import { FolderView } from './folder-view.ts';
import { LayersView } from './layers-view.ts';
import type { Look } from './look.ts';
import { MergedView } from './merged-view.ts';
import type { FsEntry, FsView, ViewSpec } from './view.ts';

/**
 * Makes the view. `look`: the results of an earlier look at the same folder, used in place of new ones. `giveWay` is
 * called for each file that is compared with patterns, and may throw. Throws `not-found` (hop `context`) for a missing
 * folder.
 */
export function openView(spec: ViewSpec, look?: Look, giveWay?: () => void): FsView {
  switch (spec.kind) {
    case 'layers':
      return spec.dirs.length === 0 ? emptyView : new LayersView(spec.dirs);
    case 'folder':
      return new FolderView(spec, look, giveWay);
    case 'added':
      return new AddedView(openView(spec.to, look, giveWay), spec.dir);
    case 'merged':
      return new MergedView(spec.of.map((each) => openView(each, look, giveWay)));
    case 'empty':
      return emptyView;
  }
}

const emptyRoot: FsEntry = {
  path: '/',
  name: '',
  type: 'dir',
  mode: 0o755,
  uid: 0,
  gid: 0,
  size: 0,
  mtimeNs: 0n,
  nlink: 2,
  ino: 0n,
  dev: 0n,
  ctimeNs: 0n,
  hostPath: '/var/empty',
};

const emptyView: FsView = {
  lstat: (path) => (path === '/' ? { ...emptyRoot } : undefined),
  readdir(path) {
    if (path === '/') return [];
    throw fail('not-found', 'file', `${path}: no such folder`);
  },
  *list(path) {
    yield;
    return emptyView.readdir(path);
  },
  xattrs: () => [],
};
