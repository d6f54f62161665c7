/** Fetches the table of contents of a chunked layer from the end of its blob. */
import { fail } from '../../errors/index.ts';
import {
  chunkAnnotations,
  type Descriptor,
  estargzAnnotations,
  zstdChunkedAnnotations,
  zstdChunkedOtherNames,
} from '../../oci/index.ts';

/** Reads a range of the blob. */
type ReadRange = (range: { offset: number; length: number }) => Promise<Buffer>;

/** A table of contents as it is in the blob, not checked yet. */
export interface PackedToc {
  compression: 'estargz' | 'zstdchunked';
  /** The digest that the manifest names: of an eStargz's table itself, of a zstd:chunked's packed one. */
  digest: string;
  bytes: Buffer;
  /** Where all chunks have ended in the blob. */
  at: number;
}

/** The last bytes of an eStargz, in which its table often is: one request less. */
const tail = 64 << 10;
const estargzFooter = 51;
/** The head of the frame that a zstd:chunked's table is in, which comes before it. */
const frameHead = 8;
/** The largest packed table, in bytes. */
const mostBytes = 64 << 20;

/** What a layer's annotations say of its table; undefined when they promise none. */
function promiseOf(blob: Descriptor): { digest: string; position?: string } | undefined {
  const found = chunkAnnotations(blob) ?? {};
  if (/gzip$/.test(blob.mediaType)) {
    const digest = found[estargzAnnotations.tocDigest];
    return digest === undefined ? undefined : { digest };
  }
  if (!/zstd$/.test(blob.mediaType)) return undefined;
  for (const { manifestChecksum, manifestPosition } of [zstdChunkedAnnotations, zstdChunkedOtherNames]) {
    const digest = found[manifestChecksum];
    const position = found[manifestPosition];
    if (digest !== undefined && position !== undefined) return { digest, position };
  }
  return undefined;
}

/** Whether a layer's annotations promise a table of contents. */
export function hasToc(blob: Descriptor): boolean {
  return promiseOf(blob) !== undefined;
}

/**
 * Fetches the table. Throws `unsupported` when there is none where it should be, and the errors of `read`.
 *
 *     const toc = await fetchToc(layer, (range) => client.range('localhost:5000/app', layer.digest, range));
 */
export async function fetchToc(blob: Descriptor, read: ReadRange): Promise<PackedToc> {
  const promise = promiseOf(blob);
  if (promise === undefined) throw noToc('its annotations name no table');
  const { digest, position } = promise;
  if (position === undefined) return estargzToc(blob, digest, read);
  const [at = 0, length = 0, , type] = position.split(':').map(Number);
  if (type !== 1 || at < frameHead || !isWithin(blob, at, length))
    throw noToc(`there is no table at ${position}`);
  const bytes = await read({ offset: at, length });
  return { compression: 'zstdchunked', digest, bytes, at: at - frameHead };
}

async function estargzToc(blob: Descriptor, digest: string, read: ReadRange): Promise<PackedToc> {
  const offset = Math.max(0, blob.size - tail);
  const end = await read({ offset, length: blob.size - offset });
  const field = end.toString('latin1', end.length - estargzFooter + 16, end.length - estargzFooter + 38);
  const at = /^[0-9a-f]{16}STARGZ$/.test(field) ? Number.parseInt(field.slice(0, 16), 16) : Number.NaN;
  const length = blob.size - estargzFooter - at;
  if (!isWithin(blob, at, length)) throw noToc('its end is no footer of eStargz');
  const known = at >= offset;
  const bytes = known
    ? end.subarray(at - offset, end.length - estargzFooter)
    : await read({ offset: at, length });
  return { compression: 'estargz', digest, bytes, at };
}

function isWithin(blob: Descriptor, at: number, length: number): boolean {
  return at >= 0 && length > 0 && length <= mostBytes && at + length <= blob.size;
}

function noToc(why: string): Error {
  return fail('unsupported', 'registry', `the layer cannot be read file by file: ${why}`);
}
