/** Serving files: the client's folders to the daemon, and the build's outputs to the client's disk. */
import type { IncomingHttpHeaders } from 'node:http2';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { fail } from '../../errors/error.ts';
import { runTask } from '../../workers/pool.ts';
import { bridge } from '../grpc/bridge.ts';
import { GrpcError, NOT_FOUND } from '../grpc/status.ts';
import type { Session } from '../types.ts';
import { receivedBytes } from './bytes.ts';
import type { CallHandler } from './grpc-server.ts';

/** Where an output of the build goes: into a folder, on top of what is there, or into a stream opened for it. */
export type OutputTarget =
  | { dir: string }
  | {
      /** Opens it; `metadata` is the exporter's response, such as the image's digest. Ended when all is written. */
      file(metadata: Record<string, string>): Promise<Writable>;
    };

/** FileSync.DiffCopy: sends a folder of the session's, as far as the daemon selects it. */
export function sendFolder(session: Session): CallHandler {
  return async ({ stream, headers, ended, signal }) => {
    const name = listOf(headers, 'dir-name')?.[0] ?? '';
    const provider = await session.local(name);
    if (provider?.kind !== 'folder') {
      throw new GrpcError(NOT_FOUND, `there is no folder ${JSON.stringify(name)} to send`);
    }
    const spec = {
      kind: 'folder' as const,
      dir: provider.dir,
      // Whose files they are here does not matter to a build.
      rootOwned: true,
      includes: listOf(headers, 'include-patterns'),
      excludes: listOf(headers, 'exclude-patterns'),
      followPaths: listOf(headers, 'followpaths'),
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
      const { dir } = target;
      await bridge(stream, ended, undefined, (port) =>
        runTask(
          'session.receive',
          { dest: dir, mode: 'merge', owners: false, port },
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

/** A list in a call's metadata. Node joins repeated headers by `, `, so that a pattern with a comma must come encoded. */
function listOf(headers: IncomingHttpHeaders, key: string): string[] | undefined {
  const value = headers[key];
  if (value === undefined) return undefined;
  const values = (Array.isArray(value) ? value : [value]).flatMap((line) => line.split(', '));
  if (headers[`${key}-encoded`] !== '1') return values;
  try {
    return values.map((text) => decodeURIComponent(text.replaceAll('+', ' ')));
  } catch (cause) {
    throw fail('invalid', 'session', `the daemon's ${key} cannot be decoded`, { cause });
  }
}
