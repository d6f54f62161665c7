/** Views of kept folders, for tasks that run one after the other on a thread: a content key, and the copies after it. */
import { FolderView } from './folder-view.ts';
import { openView } from './open.ts';
import type { FsView, ViewSpec } from './view.ts';

/** The view that this thread opened last, as long as its memory is not wanted for something else. */
let last: { key: string; view: WeakRef<FolderView> } | undefined;

/**
 * Opens a view as `openView` does. If it is of a kept folder, and the thread has looked at the same state of it through
 * the same filter before, no file is looked at again. Only the link counts may have changed since.
 */
export function openKept(spec: ViewSpec, giveWay: () => void): FsView {
  if (spec.kind !== 'folder' || spec.state !== 'kept' || spec.stamp === undefined)
    return openView(spec, undefined, giveWay);
  const key = JSON.stringify(spec);
  const known = last?.key === key ? last.view.deref() : undefined;
  if (known !== undefined) {
    known.giveWay = giveWay;
    return known;
  }
  const view = new FolderView(spec, undefined, giveWay);
  last = { key, view: new WeakRef(view) };
  return view;
}
