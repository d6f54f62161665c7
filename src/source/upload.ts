/**
 * `upload://ID`: a tar or a bare Dockerfile that the client posted. It is named by its content, not by how it came.
 * Files that are to be put aside are its second output.
 */
import { mkdirSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { MessageChannel } from 'node:worker_threads';
import { fail } from '../errors/index.ts';
import { markTop } from '../linux/index.ts';
import { digestOf } from '../oci/index.ts';
import { explainDisk } from '../store/index.ts';
import { runTask, sendStream } from '../workers/index.ts';
import { attrReader, sourceOf } from './attrs.ts';
import type { SourceMaker } from './deps.ts';
import { setAside } from './set-aside.ts';

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
      const dir = await make('upload-');
      const { port1, port2 } = new MessageChannel();
      const status = 'unpacking the build context';
      const sending = sendStream(port1, stream);
      const stop = () => stream.destroy();
      ctx.signal.addEventListener('abort', stop, { once: true });
      try {
        const { bytes } = await runTask(
          'source.unpack',
          { dir, port: port2, dockerfile },
          {
            signal: ctx.signal,
            transfer: [port2],
            waits: true,
            onMessage: (n) => ctx.progress.report(status, { current: Number(n), total: 0 }),
          },
        );
        ctx.progress.report(status, { current: bytes, total: 0, done: true });
      } catch (err) {
        const error = await explainDisk(err, deps.store, 'context');
        if (error.code !== 'canceled') error.hop ??= 'context';
        throw error;
      } finally {
        ctx.signal.removeEventListener('abort', stop);
        port1.close();
        stream.destroy();
        await sending;
      }
      const folder = (dir: string) =>
        deps.refs.folder({ kind: 'folder', dir, rootOwned: true, state: 'given' });
      if (aside === undefined) return [folder(dir)];
      const kept = await make('aside-');
      await setAside(dir, aside, kept);
      return [folder(dir), folder(kept)];
    },
  };
};

/**
 * The folder in which the uploads of this process are unpacked, each in its own folder, for one is removed while the
 * next comes in.
 */
function uploadsFolder(runDir: string): string {
  const path = join(runDir, 'uploads');
  if (mkdirSync(path, { recursive: true, mode: 0o700 }) !== undefined) markTop(path);
  return path;
}
