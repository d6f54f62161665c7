/** Sends files and archives to the client (proto/session/filesync.proto, service FileSend). */
import { fail, throwIfAborted } from '../../errors/index.ts';
import { ALREADY_EXISTS, BytesStream, type GrpcCall, GrpcError, type Metadata } from '../../grpc/index.ts';
import { compareNames } from '../../linux/index.ts';
import { runTask } from '../../workers/index.ts';
import { bridge } from '../fsutil/bridge.ts';
import type { Sent } from '../fsutil/send-task.ts';
import { notServed, type Peer } from '../peer.ts';
import type { ClientOutput, OutputTree } from '../types.ts';
import { clientContent } from './content.ts';

const method = '/moby.filesync.v1.FileSend/DiffCopy';
const toFile = 'a place for the output archive';
const toFolder = 'a folder for the output files';

/** The client's output of this number; see `ClientSession.output`. */
export function clientOutput(peer: Peer, exporter: number | string | undefined): ClientOutput {
  const id: Metadata = exporter === undefined ? {} : { 'buildkit-attachable-exporter-id': String(exporter) };
  return {
    async tar(metadata) {
      const call = await start(peer, toFile, { ...exporterMetadata(metadata), ...id });
      const stream = new BytesStream(call, {
        explain: (err) => peer.explain(toFile, err),
        // The client has that very archive already and wants no other.
        fine: (err) => err instanceof GrpcError && err.code === ALREADY_EXISTS,
      });
      stream.resume();
      return stream;
    },
    async send(trees, { timestampNs, onBytes, signal }) {
      throwIfAborted(signal);
      // One transfer has the folders of all platforms: a client may remove what is not sent.
      const call = await start(peer, toFolder, { ...id, 'buildkit-exporter-multi-platform': '1' }, signal);
      const ended = call.status.catch((err) => {
        throw peer.explain(toFolder, err);
      });
      ended.catch(() => {}); // awaited below
      let sent: Sent;
      try {
        sent = await bridge(
          call.stream,
          ended,
          (_, bytes) => onBytes?.(bytes),
          (port) =>
            runTask(
              'session.send',
              { trees: sorted(trees), timestampNs, port },
              { signal, transfer: [port], waits: true },
            ),
        );
      } catch (err) {
        call.cancel();
        throw err;
      }
      call.stream.end();
      // The client's own word that all is written.
      await ended;
      return sent;
    },
    async content() {
      // What clients call the store of the output that they write as a layout; there is one at most.
      const content = clientContent(peer, 'export');
      if (content !== undefined) return content;
      throw fail(
        'unsupported',
        'session',
        'asking the client for a place for the output: it takes no blobs',
        {
          hint: 'Leave tar=false out.',
        },
      );
    },
  };
}

/** The trees in the order in which receivers want their paths. */
function sorted(trees: readonly OutputTree[]): OutputTree[] {
  return trees.toSorted((a, b) => compareNames(a.prefix ?? '', b.prefix ?? ''));
}

async function start(peer: Peer, what: string, metadata: Metadata, signal?: AbortSignal): Promise<GrpcCall> {
  const call = await peer.open(what, method, { metadata, signal });
  if (call === notServed) {
    throw fail('unsupported', 'session', `asking the client for ${what}: it takes no files`, {
      hint: 'Name a destination for the output at the client, for example --output type=local,dest=FOLDER.',
    });
  }
  return call;
}

/** The exporter's response as metadata for the client, without the values that no header can carry. */
function exporterMetadata(response: Readonly<Record<string, string>> = {}): Metadata {
  const out: Metadata = {};
  for (const [key, value] of Object.entries(response)) {
    const name = key.toLowerCase();
    if (/^[a-z0-9._-]+$/.test(name) && /^[\x20-\x7e]*$/.test(value)) out[`exporter-md-${name}`] = value;
  }
  return out;
}
