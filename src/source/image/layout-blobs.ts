/** Reads the blobs of an OCI layout, from a folder on this host or from a client's store. */
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { errnoCode, fail } from '../../errors/index.ts';
import { readOrdinary, streamOrdinary } from '../../linux/index.ts';
import { type Digest, hex } from '../../oci/index.ts';
import type { ClientContent } from '../../session/index.ts';

/** The largest index, manifest or config, in bytes. */
const maxDocument = 16 << 20;

/** The blobs of one layout. */
export interface LayoutBlobs {
  /** `the OCI layout app`, for errors. */
  readonly name: string;
  /** The layout's index.json; undefined when there is none to read. */
  index(): Promise<Buffer | undefined>;
  /** A small blob. Throws `not-found`, and `invalid` when it is too large. */
  document(digest: Digest): Promise<Buffer>;
  /** The bytes of a blob. The stream, or this call, fails with `not-found`. */
  stream(digest: Digest, signal?: AbortSignal): Promise<Readable>;
}

/** The blobs of a layout in a folder on this host. */
export function folderBlobs(dir: string, name: string): LayoutBlobs {
  const missing = (path: string, cause: unknown) =>
    fail('not-found', 'session', `${name}: there is no ${path}`, {
      cause,
      hint: 'Check that the folder is an OCI layout (index.json and blobs/sha256) and holds the whole image.',
    });
  const read = async (path: string): Promise<Buffer> => {
    try {
      return await readOrdinary(join(dir, path), maxDocument);
    } catch (err) {
      const code = errnoCode(err) ?? '';
      if (code === 'ENOENT') throw missing(path, err);
      if (!['EFBIG', 'EINVAL', 'EISDIR'].includes(code)) throw err;
      throw fail('invalid', 'session', `${name}: ${path} is no file of at most ${maxDocument} bytes`, {
        cause: err,
      });
    }
  };
  return {
    name,
    index: () => read('index.json'),
    document: (digest) => read(pathOf(digest)),
    async stream(digest, signal) {
      const path = pathOf(digest);
      const { stream } = await streamOrdinary(join(dir, path), { signal }).catch((err) => {
        throw errnoCode(err) === 'ENOENT' ? missing(path, err) : err;
      });
      return stream;
    },
  };
}

/** The blobs of a layout in a client's store. */
export function clientBlobs(content: ClientContent, name: string): LayoutBlobs {
  return {
    name,
    // A client's store is asked by digest alone.
    index: async () => undefined,
    async document(digest) {
      const size = await content.size(digest);
      if (size === undefined) throw fail('not-found', 'session', `${name}: there is no blob ${digest}`);
      if (size > maxDocument)
        throw fail('invalid', 'session', `${name}: ${digest} has more than ${maxDocument} bytes`);
      // Its word on the size is not enough.
      return buffer(Readable.from(atMost(await content.read(digest), maxDocument, name)));
    },
    stream: (digest, signal) => content.read(digest, { signal }),
  };
}

async function* atMost(bytes: Readable, max: number, name: string): AsyncGenerator<Buffer> {
  let size = 0;
  for await (const chunk of bytes) {
    size += (chunk as Buffer).length;
    if (size > max) throw fail('invalid', 'session', `${name}: a document has more than ${max} bytes`);
    yield chunk as Buffer;
  }
}

function pathOf(digest: Digest): string {
  return `blobs/sha256/${hex(digest)}`;
}
