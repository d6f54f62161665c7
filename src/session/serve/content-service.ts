/**
 * OCI layout folders as stores of blobs: containerd's content service, as far as a daemon reads from it. The store's
 * name is the call's metadata `buildkit-attachable-store-id`, as in BuildKit's session/content.
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { canceled, errnoCode } from '../../errors/error.ts';
import { hex, parseDigest } from '../../oci/digest.ts';
import {
  InfoRequestSchema,
  InfoResponseSchema,
  ReadContentRequestSchema,
  ReadContentResponseSchema,
} from '../../pb/containerd/content_pb.js';
import { frame } from '../grpc/frame.ts';
import { GrpcError, NOT_FOUND } from '../grpc/status.ts';
import { drained } from './bytes.ts';
import { type CallHandler, requestOf, type ServedCall, unary } from './grpc-server.ts';

const service = '/containerd.services.content.v1.Content';
/** Bytes per message: few enough for every receiver's limit. */
const chunkSize = 1 << 20;

/** The service's handlers. `layouts`: folder by the store's name. */
export function contentHandlers(layouts: ReadonlyMap<string, string>): [string, CallHandler][] {
  return [
    [`${service}/Info`, info(layouts)],
    [`${service}/Read`, read(layouts)],
  ];
}

function info(layouts: ReadonlyMap<string, string>): CallHandler {
  return unary(async (request, call) => {
    const { digest } = fromBinary(InfoRequestSchema, request);
    const file = await openBlob(layouts, call, digest);
    try {
      const { size, mtimeMs } = await file.stat();
      const at = timestampFromMs(Math.round(mtimeMs));
      const answer = { info: { digest, size: BigInt(size), createdAt: at, updatedAt: at } };
      return toBinary(InfoResponseSchema, create(InfoResponseSchema, answer));
    } finally {
      await file.close();
    }
  });
}

/** From `offset` on; `size` bytes, or all when that is 0. */
function read(layouts: ReadonlyMap<string, string>): CallHandler {
  return async (call) => {
    const { stream } = call;
    const { digest, offset, size } = fromBinary(ReadContentRequestSchema, await requestOf(call));
    const file = await openBlob(layouts, call, digest);
    try {
      const end = size > 0n ? Number(offset + size) : Number.POSITIVE_INFINITY;
      for (let at = Number(offset); at < end; ) {
        const buffer = Buffer.allocUnsafe(Math.min(chunkSize, end - at));
        const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
        if (bytesRead === 0) break;
        const part = { offset: BigInt(at), data: buffer.subarray(0, bytesRead) };
        if (stream.destroyed || stream.closed) throw canceled('the call was broken off');
        const message = toBinary(ReadContentResponseSchema, create(ReadContentResponseSchema, part));
        if (!stream.write(frame(message))) await drained(stream);
        at += bytesRead;
      }
    } finally {
      await file.close();
    }
  };
}

async function openBlob(layouts: ReadonlyMap<string, string>, { headers }: ServedCall, digest: string) {
  const name = String(headers['buildkit-attachable-store-id'] ?? '');
  const dir = layouts.get(name);
  if (dir === undefined) throw new GrpcError(NOT_FOUND, `there is no OCI layout ${JSON.stringify(name)}`);
  try {
    return await open(join(dir, 'blobs/sha256', hex(parseDigest(digest))), 'r');
  } catch (err) {
    if (errnoCode(err) !== 'ENOENT') throw err;
    throw new GrpcError(NOT_FOUND, `the OCI layout in ${dir} has no blob ${digest}`);
  }
}
