/** Serves files: the client's folders go to the daemon, and the build's outputs come to the client's disk. */
import type { IncomingHttpHeaders } from 'node:http2';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { type CallHandler, GrpcError, NOT_FOUND, receivedBytes } from '../../grpc/index.ts';
import { runTask } from '../../workers/index.ts';
import { bridge } from '../fsutil/bridge.ts';
import { listOf } from '../services/metadata.ts';
import type { Session } from '../types.ts';

/** The place of an output: a folder, which keeps its other files, or a stream that is opened for it. */
export type OutputTarget =
  | {
      dir: string;
      /** Removes files that are there and were not sent. */
      remove?: boolean;
    }
  | {
      /**
       * Opens the stream. `metadata` is the exporter's response, such as the image's digest. The stream is ended when
       * all is written.
       */
      file(metadata: Record<string, string>): Promise<Writable>;
    };

/** FileSync.DiffCopy: sends the part of a session's folder that the daemon selects. */
export function sendFolder(session: Session): CallHandler {
  return async ({ stream, rawHeaders, ended, signal }) => {
    const name = listOf(rawHeaders, 'dir-name')?.[0] ?? '';
    const provider = await session.local(name);
    if (provider?.kind !== 'folder') {
      throw new GrpcError(NOT_FOUND, `there is no folder ${JSON.stringify(name)} to send`);
    }
    const spec = {
      kind: 'folder' as const,
      dir: provider.dir,
      // Whose files they are here does not matter to a build.
      rootOwned: true,
      includes: listOf(rawHeaders, 'include-patterns'),
      excludes: listOf(rawHeaders, 'exclude-patterns'),
      followPaths: listOf(rawHeaders, 'followpaths'),
    };
    await bridge(stream, ended, undefined, (port) =>
      runTask('session.send', { trees: [{ spec }], port }, { signal, transfer: [port], waits: true }),
    );
  };
}

/** FileSend.DiffCopy: takes the output whose number the daemon gives. */
export function receiveOutput(outputs: ReadonlyMap<number, OutputTarget>): CallHandler {
  return async ({ stream, headers, ended, signal }) => {
    const id = Number(headers['buildkit-attachable-exporter-id'] ?? 0);
    const target = outputs.get(id);
    if (target === undefined) throw new GrpcError(NOT_FOUND, `there is no output ${id}`);
    if ('dir' in target) {
      const { dir, remove } = target;
      await bridge(stream, ended, undefined, (port) =>
        runTask(
          'session.receive',
          { dest: dir, mode: remove ? 'mirror' : 'merge', owners: false, careful: true, port },
          { signal, transfer: [port], waits: true },
        ),
      );
      return;
    }
    const file = await target.file(exporterMetadata(headers));
    // A failure shows where it is waited for.
    const done = finished(file, { readable: false });
    done.catch(() => {});
    try {
      for await (const chunk of receivedBytes(stream)) {
        if (!file.write(chunk))
          await Promise.race([new Promise((resolve) => file.once('drain', resolve)), done]);
      }
      file.end();
      await done;
    } catch (err) {
      file.destroy();
      throw err;
    }
  };
}

const metadataPrefix = 'exporter-md-';

function exporterMetadata(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers)
      .filter(([key]) => key.startsWith(metadataPrefix))
      .map(([key, value]) => [key.slice(metadataPrefix.length), String(value)]),
  );
}
