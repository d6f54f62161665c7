/**
 * Serves the session's stores of blobs to a daemon: containerd's content service, as far as builds use it. The store's
 * name is in the call's metadata `buildkit-attachable-store-id`, as in BuildKit's session/content.
 */

import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { canceled } from '../../errors/index.ts';
import { drained } from '../../flow/index.ts';
import {
  ALREADY_EXISTS,
  type CallHandler,
  Deframer,
  frame,
  GrpcError,
  INVALID_ARGUMENT,
  NOT_FOUND,
  OUT_OF_RANGE,
  requestOf,
  type ServedCall,
  unary,
} from '../../grpc/index.ts';
import { parseDigest } from '../../oci/index.ts';
import {
  InfoRequestSchema,
  InfoResponseSchema,
  ReadContentRequestSchema,
  ReadContentResponseSchema,
  WriteAction,
  type WriteContentRequest,
  WriteContentRequestSchema,
  WriteContentResponseSchema,
} from '../../pb/containerd/content_pb.js';
import type { ClientContent, Session } from '../types.ts';

const service = '/containerd.services.content.v1.Content';
/** Bytes per message, few enough for every receiver's limit. */
const chunkSize = 1 << 20;

/** The handlers of the service, by method. */
export function contentHandlers(session: Session): [string, CallHandler][] {
  return [
    [`${service}/Info`, info(session)],
    [`${service}/Read`, read(session)],
    [`${service}/Write`, write(session)],
  ];
}

function info(session: Session): CallHandler {
  return unary(async (request, call) => {
    const { digest } = fromBinary(InfoRequestSchema, request);
    const { content, name } = await storeOf(session, call);
    const size = await content.size(parseDigest(digest));
    if (size === undefined) throw missing(name, digest);
    const answer = { info: { digest, size: BigInt(size) } };
    return toBinary(InfoResponseSchema, create(InfoResponseSchema, answer));
  });
}

/** Sends `size` bytes from `offset` on, or all of them when `size` is 0. */
function read(session: Session): CallHandler {
  return async (call) => {
    const { stream, signal } = call;
    const { digest, offset, size } = fromBinary(ReadContentRequestSchema, await requestOf(call));
    const { content } = await storeOf(session, call);
    let at = Number(offset);
    const end = size > 0n ? at + Number(size) : Number.POSITIVE_INFINITY;
    for await (const chunk of await content.read(parseDigest(digest), { offset: at, signal })) {
      const bytes = (chunk as Buffer).subarray(0, end - at);
      for (let from = 0; from < bytes.length; from += chunkSize) {
        if (stream.destroyed || stream.closed) throw canceled('the call was broken off');
        const data = bytes.subarray(from, from + chunkSize);
        const part = create(ReadContentResponseSchema, { offset: BigInt(at), data });
        if (!stream.write(frame(toBinary(ReadContentResponseSchema, part)))) await drained(stream);
        at += data.length;
      }
      if (at >= end) break;
    }
  };
}

/**
 * The dialogue of writing one blob. Each of its messages is answered: the offset to begin at, the bytes, the commit.
 */
function write(session: Session): CallHandler {
  return async (call) => {
    const { stream, signal } = call;
    const answer = (fields: MessageInitShape<typeof WriteContentResponseSchema>): void => {
      const response = create(WriteContentResponseSchema, fields);
      stream.write(frame(toBinary(WriteContentResponseSchema, response)));
    };
    const requests = writeRequests(call);
    const first = (await requests.next()).value;
    if (first === undefined) throw new GrpcError(INVALID_ARGUMENT, 'a write without a message');
    if (first.expected === '' || first.total <= 0n) {
      throw new GrpcError(INVALID_ARGUMENT, 'a write must begin with the digest and size that the blob has');
    }
    const blob = { digest: parseDigest(first.expected), size: Number(first.total) };
    const { content } = await storeOf(session, call);
    if ((await content.size(blob.digest)) === blob.size) {
      throw new GrpcError(ALREADY_EXISTS, `blob ${blob.digest} is there already`);
    }
    let committed = false;
    async function* bytes(): AsyncGenerator<Uint8Array> {
      let at = 0;
      for (let request: WriteContentRequest | undefined = first; request !== undefined; ) {
        if (request.data.length > 0 || request.action === WriteAction.WRITE) {
          if (Number(request.offset) !== at) {
            throw new GrpcError(
              OUT_OF_RANGE,
              `bytes for ${request.offset} of a blob of which ${at} are there`,
            );
          }
          yield request.data;
          at += request.data.length;
        }
        committed = request.action === WriteAction.COMMIT;
        if (committed) return;
        answer({ action: request.action, offset: BigInt(at), total: BigInt(blob.size) });
        request = (await requests.next()).value ?? undefined;
      }
      throw canceled('the write ended without a commit');
    }
    await content.write(blob, bytes(), { signal });
    // What another write has stored meanwhile needs no bytes.
    if (!committed) throw new GrpcError(ALREADY_EXISTS, `blob ${blob.digest} is there already`);
    answer({ action: WriteAction.COMMIT, offset: BigInt(blob.size), digest: blob.digest });
  };
}

async function* writeRequests({ stream }: ServedCall): AsyncGenerator<WriteContentRequest, undefined> {
  const frames = new Deframer();
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    for (const message of frames.push(chunk as Buffer)) yield fromBinary(WriteContentRequestSchema, message);
  }
  return undefined;
}

async function storeOf(
  session: Session,
  { headers }: ServedCall,
): Promise<{ content: ClientContent; name: string }> {
  const name = String(headers['buildkit-attachable-store-id'] ?? '');
  const content = await session.content?.(name);
  if (content === undefined) throw new GrpcError(NOT_FOUND, `there is no store ${JSON.stringify(name)}`);
  return { content, name };
}

function missing(name: string, digest: string): GrpcError {
  return new GrpcError(NOT_FOUND, `the store ${JSON.stringify(name)} has no blob ${digest}`);
}
