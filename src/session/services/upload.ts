/** Brings a stream of the client, such as a build context on its stdin (proto/session/upload.proto). */
import type { Readable } from 'node:stream';
import { BytesStream } from '../../grpc/index.ts';
import { notServed, type Peer } from '../peer.ts';
import { uploadHost } from '../upload-host.ts';

/**
 * Opens the stream that the client keeps under this ID; undefined when the client serves no streams. The stream fails
 * when the client has none of this ID, or when it was read before.
 */
export async function pullUpload(peer: Peer, id: string): Promise<Readable | undefined> {
  const what = `the upload ${id}`;
  const metadata = { urlpath: `/${id.replace(/^\/+/, '')}`, urlhost: uploadHost };
  const call = await peer.open(what, '/moby.upload.v1.Upload/Pull', { metadata });
  if (call === notServed) return undefined;
  const stream = new BytesStream(call, { explain: (err) => peer.explain(what, err) });
  stream.end();
  return stream;
}
