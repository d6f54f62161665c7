/** Makes trees by file actions: each is a new snapshot, written without mounting anything. */
import { type DrydockError, fail, toDrydockError } from '../errors/index.ts';
import { type FileActionSpec, specOfMounts, type ViewSpec } from '../fs/index.ts';
import { maxLayers } from '../oci/index.ts';
import {
  explainDisk,
  explainLazy,
  type Ref,
  type RefContext,
  type Store,
  tooManyLayers,
} from '../store/index.ts';
import { runTask } from '../workers/index.ts';

/**
 * Makes the committed snapshot `name` by applying file actions to `parent`. Leaves nothing behind when it fails or is
 * aborted.
 */
export async function writeSnapshot(
  store: Store,
  what: {
    name: string;
    key: string;
    parent: string | undefined;
    actions: FileActionSpec[];
    /** Labels of the committed snapshot. */
    labels?: Record<string, string>;
    /** Called on a failure while the active snapshot still exists; it may commit the part that was written. */
    onFailure?(error: DrydockError): Promise<void>;
  },
  ctx: RefContext,
): Promise<void> {
  const { name, key, parent, actions, labels } = what;
  const { lease, signal } = ctx;
  const since = Date.now();
  const mounts = await store.snapshots.prepare(key, parent, { lease });
  try {
    const target = specOfMounts(mounts);
    if (target.kind !== 'layers')
      throw fail('internal', 'store', `snapshot ${key} has no folder to write to`);
    if (target.dirs.length > maxLayers) throw tooManyLayers('file');
    if (actions.length > 0) await runTask('fs.apply', { target, actions }, { signal });
    await store.snapshots.commit(name, key, { lease, labels });
  } catch (err) {
    // The disk is examined while the written files are still there.
    const error = toDrydockError(await explainDisk(explainLazy(err, store, since, mounts), store), 'file');
    if (signal?.aborted !== true) await what.onFailure?.(error);
    await store.snapshots.remove(key).catch(() => {});
    throw error;
  }
}

/** The snapshot that a build on this ref stands on; undefined for the empty tree. */
export async function parentOf(ref: Ref | undefined, ctx: RefContext): Promise<string | undefined> {
  return ref === undefined || isEmpty(ref) ? undefined : ref.snapshot(ctx);
}

/** Whether a ref is the empty tree. */
export function isEmpty(ref: Ref): boolean {
  return ref.serialize()?.kind === 'empty';
}

/** The action that copies everything of a tree over the target. */
export function copyAll(source: ViewSpec): Extract<FileActionSpec, { kind: 'copy' }> {
  return {
    kind: 'copy',
    source,
    src: '/',
    dest: '/',
    followSymlink: false,
    dirCopyContents: true,
    unpack: false,
    createDestPath: true,
    allowWildcard: false,
    allowEmptyWildcard: true,
    includes: [],
    excludes: [],
    alwaysReplaceExistingDestPaths: true,
    requiredPaths: [],
  };
}
