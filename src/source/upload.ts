/**
 * `upload://ID`: a tar or a bare Dockerfile that the client posted. It is named by its content, not by how it came. It is
 * unpacked over the last one of the same project, so that only what differs is written. Files that are to be put aside
 * are its second output.
 */
import { mkdirSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { MessageChannel } from 'node:worker_threads';
import { fail } from '../errors/index.ts';
import { Limiter, noticeStall } from '../flow/index.ts';
import { type HeldFolder, keptUnder } from '../kept/index.ts';
import { markTop } from '../linux/index.ts';
import { digestOf } from '../oci/index.ts';
import type { OpContext } from '../solver/index.ts';
import { explainDisk, type Store } from '../store/index.ts';
import { runTask, sendStream } from '../workers/index.ts';
import { attrReader, sourceOf } from './attrs.ts';
import { copyAside } from './copy-aside.ts';
import type { SourceMaker } from './deps.ts';

/**
 * How many uploads are read at a time. The bytes of one lie in half a dozen places between its socket and its file, so a
 * hundred at once would take tens of megabytes; and one after the other they are done no later.
 */
const atOnce = new Limiter(8);
/** How long a client may send nothing, in ms, before the next upload is read beside its own. */
const patience = 200;

/** The most folders that are kept of one project. */
const mostKept = 3;

export const uploadSource: SourceMaker = (vertex, deps) => {
  const { identifier, attrs } = sourceOf(vertex);
  const id = identifier.slice('upload://'.length);
  const read = attrReader(attrs, identifier);
  const aside = read.list('upload.aside');
  const dockerfile = read.text('upload.dockerfile');
  read.done();
  return {
    async cacheMap() {
      const used = { kind: 'local', name: 'context' } as const;
      return { digest: digestOf(`upload ${id}`), deps: [], volatile: true, used };
    },
    async exec(_, ctx) {
      const stream = await ctx.session.upload(id);
      if (stream === undefined) {
        throw fail('not-found', 'context', `there is no upload ${JSON.stringify(id)}, or it was read before`);
      }
      const make = async (prefix: string) => {
        const dir = await mkdtemp(join(uploadsFolder(deps.store.runDir), prefix));
        ctx.onRelease?.(async () => {
          await runTask('store.remove', { paths: [dir] });
        });
        return dir;
      };
      const kept = keptFor(deps.store, ctx);
      const dir = kept === undefined ? await make('upload-') : await kept.data();
      const stamp = await unpacked(stream, { dir, dockerfile, keeps: kept !== undefined }, ctx, deps.store);
      const given = { kind: 'folder', rootOwned: true, state: 'given' } as const;
      const whole =
        stamp === undefined
          ? { ...given, dir }
          : { ...given, dir, state: 'kept' as const, cacheKey: dir, stamp };
      if (aside === undefined) return [deps.refs.folder(whole)];
      const apart = await make('aside-');
      const excludes = await copyAside(dir, aside, apart);
      const rest = excludes.length === 0 ? whole : { ...whole, excludes };
      return [deps.refs.folder(rest), deps.refs.folder({ ...given, dir: apart })];
    },
  };
};

/**
 * Unpacks an upload into a folder once it is its turn; the stream is at its end then, however it ends. Returns what
 * stands for the contents of a folder that is kept.
 */
async function unpacked(
  stream: Readable,
  to: { dir: string; dockerfile: string | undefined; keeps: boolean },
  { signal, progress }: OpContext,
  store: Store,
): Promise<string | undefined> {
  const status = 'unpacking the build context';
  const stop = () => stream.destroy();
  signal.addEventListener('abort', stop, { once: true });
  let letNextIn: (() => void) | undefined;
  try {
    letNextIn = await atOnce.place(signal);
    const { port1, port2 } = new MessageChannel();
    const sending = sendStream(port1, noticeStall(stream, patience, letNextIn));
    try {
      const { stamp, bytes } = await runTask(
        'source.unpack',
        { ...to, port: port2 },
        {
          signal,
          transfer: [port2],
          waits: true,
          onMessage: (n) => progress.report(status, { current: Number(n), total: 0 }),
        },
      );
      progress.report(status, { current: bytes, total: 0, done: true });
      return stamp;
    } finally {
      port1.close();
      stream.destroy();
      await sending;
    }
  } catch (err) {
    const error = await explainDisk(err, store, 'context');
    if (error.code !== 'canceled') error.hop ??= 'context';
    throw error;
  } finally {
    letNextIn?.();
    signal.removeEventListener('abort', stop);
    stream.destroy();
  }
}

/**
 * The folder that the last upload of the same project was unpacked into, for this build alone; undefined when too many of
 * its builds run.
 */
function keptFor(store: Store, { session, onRelease }: OpContext): HeldFolder | undefined {
  if (onRelease === undefined) return undefined;
  const name = session.project ?? '';
  const key = { key: JSON.stringify(['upload', name]), name, owner: session.tenant?.id };
  const held = keptUnder(store.root).uploads.claimOf(key, mostKept);
  if (held !== undefined) onRelease(() => held.release());
  return held;
}

/**
 * The folder in which the uploads of this process are unpacked, each in its own folder, for one is removed while the
 * next comes in.
 */
function uploadsFolder(runDir: string): string {
  const path = join(runDir, 'uploads');
  if (mkdirSync(path, { recursive: true, mode: 0o700 }) !== undefined) markTop(path);
  return path;
}
