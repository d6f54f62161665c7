/**
 * A client's stores of blobs: the OCI layouts that it offers, and the store that takes an output's blobs. They speak
 * containerd's content service, with the store's ID as metadata (proto/containerd/content.proto).
 */
import { Readable } from 'node:stream';
import { create, toBinary } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { type DrydockError, fail } from '../../errors/index.ts';
import {
  ALREADY_EXISTS,
  type CallOptions,
  decodeShort,
  frame,
  frameHead,
  type GrpcCall,
  GrpcError,
  NOT_FOUND,
  UNIMPLEMENTED,
} from '../../grpc/index.ts';
import { type Digest, isDigest } from '../../oci/index.ts';
import {
  DeleteContentRequestSchema,
  InfoRequestSchema,
  InfoResponseSchema,
  ListContentRequestSchema,
  ListContentResponseSchema,
  ReadContentRequestSchema,
  ReadContentResponseSchema,
  WriteAction,
  WriteContentRequestSchema,
  WriteContentResponseSchema,
} from '../../pb/containerd/content_pb.js';
import { notServed, type Peer } from '../peer.ts';
import type { ClientContent, ContentUpkeep } from '../types.ts';

const service = '/containerd.services.content.v1.Content';
/** Bytes per message of a blob that is written, few enough for the limit of Go's gRPC servers. */
const chunkSize = 1 << 20;
/** Messages of a blob that are sent before the answer to the first of them has come. */
const mostUnanswered = 4;

/**
 * The client's store of this ID; undefined when the client serves no stores. A missing store of this ID is found out
 * when it is used.
 */
export function clientContent(peer: Peer, id: string): ClientContent | undefined {
  if (!peer.mayServe(`${service}/Info`) && !peer.mayServe(`${service}/Read`)) return undefined;
  if (!/^[\x20-\x7e]*$/.test(id)) {
    const name = 'header key "buildkit-attachable-store-id"';
    throw fail('invalid', 'session', `${name} contains value with non-printable ASCII characters`, {
      hint: `Give the folder of ${id} a name in ASCII.`,
    });
  }
  const metadata = { 'buildkit-attachable-store-id': id };
  const start = async (what: string, method: string, options: CallOptions): Promise<GrpcCall> => {
    const call = await peer.open(what, `${service}/${method}`, { metadata, ...options });
    if (call === notServed) throw peer.explain(what, new GrpcError(UNIMPLEMENTED, method));
    return call;
  };
  return {
    async size(digest) {
      const what = `blob ${digest} of its store ${id}`;
      const request = toBinary(InfoRequestSchema, create(InfoRequestSchema, { digest }));
      try {
        const answer = await peer.unary(what, `${service}/Info`, request, { metadata });
        if (answer === notServed) return undefined;
        return Number(decodeShort(InfoResponseSchema, answer).info?.size ?? 0n);
      } catch (err) {
        if (err instanceof GrpcError && err.code === NOT_FOUND) return undefined;
        throw peer.explain(what, err);
      }
    },
    async read(digest, { offset = 0, length = 0, signal } = {}) {
      const what = `blob ${digest} of its store ${id}`;
      const call = await start(what, 'Read', { signal });
      // All of them is what 0 means in this service.
      const request = create(ReadContentRequestSchema, {
        ...{ digest, offset: BigInt(offset), size: BigInt(length) },
      });
      call.stream.end(frame(toBinary(ReadContentRequestSchema, request)));
      return Readable.from(
        blobBytes(call, offset, (err) => peer.explain(what, err)),
        { objectMode: false },
      );
    },
    async write({ digest, size }, bytes, { signal } = {}) {
      const what = `a place for blob ${digest} in its store ${id}`;
      const call = await start(what, 'Write', { signal });
      try {
        await writeBlob(call, digest, size, bytes);
      } catch (err) {
        if (err instanceof GrpcError && err.code === ALREADY_EXISTS) return;
        throw peer.explain(what, err);
      } finally {
        call.cancel();
      }
    },
    ...(peer.mayServe(`${service}/List`) && peer.mayServe(`${service}/Delete`)
      ? { upkeep: contentUpkeep(peer, id, metadata, start) }
      : {}),
  };
}

function contentUpkeep(
  peer: Peer,
  id: string,
  metadata: Record<string, string>,
  start: (what: string, method: string, options: CallOptions) => Promise<GrpcCall>,
): ContentUpkeep {
  return {
    async *list({ signal } = {}) {
      const what = `the blobs of its store ${id}`;
      const call = await start(what, 'List', { signal });
      call.stream.end(frame(toBinary(ListContentRequestSchema, create(ListContentRequestSchema))));
      try {
        for await (const message of call.messages()) {
          for (const { digest, size, createdAt } of decodeShort(ListContentResponseSchema, message).info) {
            const at = createdAt === undefined ? 0 : timestampMs(createdAt);
            if (isDigest(digest)) yield { digest, size: Number(size), at };
          }
        }
      } catch (err) {
        throw peer.explain(what, err);
      } finally {
        call.cancel();
      }
    },
    async delete(digest) {
      const what = `the removal of blob ${digest} from its store ${id}`;
      const request = toBinary(DeleteContentRequestSchema, create(DeleteContentRequestSchema, { digest }));
      try {
        const answer = await peer.unary(what, `${service}/Delete`, request, { metadata });
        if (answer === notServed) throw new GrpcError(UNIMPLEMENTED, 'Delete');
      } catch (err) {
        if (err instanceof GrpcError && err.code === NOT_FOUND) return;
        throw peer.explain(what, err);
      }
    },
  };
}

/** The bytes of a Read call, which come in order. */
async function* blobBytes(
  call: GrpcCall,
  offset: number,
  explain: (err: unknown) => DrydockError,
): AsyncGenerator<Uint8Array> {
  let at = BigInt(offset);
  try {
    for await (const message of call.messages()) {
      const part = decodeShort(ReadContentResponseSchema, message);
      if (part.offset !== at)
        throw fail('corrupt', 'session', 'the client sent parts of a blob out of order');
      at += BigInt(part.data.length);
      yield part.data;
    }
  } catch (err) {
    throw explain(err);
  }
}

/**
 * Writes a blob in containerd's dialogue: the offset to begin at, the bytes, and the digest that they must have. The
 * client takes the messages in turn, so that the next ones are on their way while it writes.
 */
async function writeBlob(
  call: GrpcCall,
  digest: Digest,
  size: number,
  bytes: AsyncIterable<Uint8Array>,
): Promise<void> {
  const answers = call.messages();
  const send = (
    fields: { action: WriteAction; offset?: bigint },
    parts: readonly Uint8Array[] = [],
    length = 0,
  ) => {
    const common = { ref: `drydock-${digest}`, total: BigInt(size), expected: digest };
    const request = toBinary(
      WriteContentRequestSchema,
      create(WriteContentRequestSchema, { ...common, ...fields }),
    );
    const last = { field: WriteContentRequestSchema.field.data.number, length };
    call.stream.write(length === 0 ? frame(request) : frameHead(request, last));
    for (const part of parts) call.stream.write(part);
  };
  const answer = async () => {
    const { value, done } = await answers.next();
    // The call's own failure is thrown by `next`.
    if (done) throw new Error('the client ended before the blob was whole');
    return decodeShort(WriteContentResponseSchema, value);
  };
  // A broken-off earlier try may have left some: the client says how much of it, and that is skipped.
  send({ action: WriteAction.STAT });
  const { offset: there } = await answer();
  let at = there;
  let unanswered = 0;
  for await (const { parts, length } of inPieces(bytes, Number(there), chunkSize)) {
    if (unanswered === mostUnanswered) {
      await answer();
      unanswered--;
    }
    send({ action: WriteAction.WRITE, offset: at }, parts, length);
    at += BigInt(length);
    unanswered++;
  }
  for (; unanswered > 0; unanswered--) await answer();
  send({ action: WriteAction.COMMIT, offset: at });
  await answer();
  call.stream.end();
}

/** The bytes from `start` on, in pieces of `size` (the last may be shorter), whose parts are the stream's own memory. */
async function* inPieces(
  bytes: AsyncIterable<Uint8Array>,
  start: number,
  size: number,
): AsyncGenerator<{ parts: readonly Uint8Array[]; length: number }> {
  let parts: Uint8Array[] = [];
  let length = 0;
  let skip = start;
  for await (const chunk of bytes) {
    const skipped = Math.min(skip, chunk.length);
    skip -= skipped;
    for (let from = skipped; from < chunk.length; ) {
      const part = chunk.subarray(from, from + size - length);
      parts.push(part);
      length += part.length;
      from += part.length;
      if (length < size) continue;
      yield { parts, length };
      parts = [];
      length = 0;
    }
  }
  if (length > 0) yield { parts, length };
}
