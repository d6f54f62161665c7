/** Unpacks a layer blob of a store into a snapshot's mounts, on a worker thread. */
import { MessageChannel } from 'node:worker_threads';
import { fail } from '../errors/index.ts';
import { type Mount, specOfMounts } from '../fs/index.ts';
import type { Descriptor } from '../oci/index.ts';
import type { ReportStatus } from '../progress/index.ts';
import type { Store } from '../store/index.ts';
import { runTask, sendStream } from '../workers/index.ts';
import type { UnpackArgs, UnpackProgress, UnpackResult } from './unpack-task.ts';

interface UnpackContext {
  signal?: AbortSignal;
  report?: ReportStatus;
  /** The name of the progress line; default `extracting <digest>`. Its numbers are bytes of the blob. */
  status?: string;
  /**
   * Set when the mounts stand on nothing, for what will be below is still being made. A layer that builds on files below
   * fails with `conflict`.
   */
  ahead?: boolean;
}

/**
 * Unpacks `blob` (in the store's content) into the mounts of a new active snapshot. The caller compares the diff ID,
 * and removes the snapshot when this throws: `corrupt` for a bad archive, `not-found`, `exhausted`, `canceled`.
 *
 *     const { diffId } = await unpackLayer(store, await snapshots.prepare(key, parent, { lease }), layer);
 */
export async function unpackLayer(
  store: Store,
  mounts: readonly Mount[],
  blob: Pick<Descriptor, 'digest' | 'size'>,
  ctx: UnpackContext = {},
): Promise<UnpackResult> {
  const spec = specOfMounts(mounts);
  if (spec.kind !== 'layers' || spec.dirs[0] === undefined) {
    throw fail('internal', 'store', 'a layer cannot be unpacked into a snapshot without mounts');
  }
  const [dir, ...lower] = spec.dirs;
  const form = store.snapshotter === 'native' ? 'tree' : 'overlay';
  const below = ctx.ahead === true ? 'unknown' : ({ kind: 'layers', dirs: lower } as const);
  const args = { dir, form, lower: below } satisfies Omit<UnpackArgs, 'source'>;
  return unpackInto(store, args, blob, ctx);
}

/**
 * Unpacks a blob of content onto a plain folder, which holds the tree below it: whiteouts remove files, and devices are
 * left out. Throws as `unpackLayer` does; the folder is then in any state.
 */
export async function unpackOnto(
  store: Store,
  dir: string,
  blob: Pick<Descriptor, 'digest' | 'size'>,
  ctx: Pick<UnpackContext, 'signal' | 'report'> = {},
): Promise<UnpackResult> {
  return unpackInto(store, { dir, form: 'tree', devices: false }, blob, ctx);
}

async function unpackInto(
  store: Store,
  args: Omit<UnpackArgs, 'source'>,
  blob: Pick<Descriptor, 'digest' | 'size'>,
  ctx: UnpackContext,
): Promise<UnpackResult> {
  const status = ctx.status ?? `extracting ${blob.digest}`;
  const say = (current: number, done = false) => ctx.report?.(status, { current, total: blob.size, done });
  const options = {
    signal: ctx.signal,
    onMessage: (message: unknown) => say((message as UnpackProgress).read),
  };
  say(0);
  const path = await store.content.localPath?.(blob.digest);
  let result: UnpackResult;
  if (path !== undefined) result = await runTask('layer.unpack', { ...args, source: { path } }, options);
  else {
    const source = await store.content.read(blob.digest);
    const { port1, port2 } = new MessageChannel();
    const sent = sendStream(port1, source, ctx.signal);
    try {
      result = await runTask(
        'layer.unpack',
        { ...args, source: { port: port2 } },
        { ...options, transfer: [port2], waits: true },
      );
    } finally {
      port1.close();
      source.destroy();
      await sent;
    }
  }
  say(blob.size, true);
  return result;
}
