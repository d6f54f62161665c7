/** A client's stores of blobs, kept in memory: containerd's content service as buildx and buildctl serve it. */
import { createHash } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import * as content from '../../../src/pb/containerd/content_pb.js';
import { type Call, type Handler, Status } from './grpc-server.ts';

/** Digest → bytes. */
export type Blobs = Map<string, Buffer>;

const service = '/containerd.services.content.v1.Content';

export function* contentHandlers(stores: Record<string, Blobs>): Generator<[string, Handler]> {
  const storeOf = (call: Call): Blobs => {
    const id = String(call.headers['buildkit-attachable-store-id'] ?? '');
    const store = stores[id];
    if (store === undefined) throw new Status(5, `unknown store ID ${JSON.stringify(id)}`);
    return store;
  };
  const blobOf = (call: Call, digest: string): Buffer => {
    const blob = storeOf(call).get(digest);
    if (blob === undefined) throw new Status(5, `content ${digest}: not found`);
    return blob;
  };
  yield [
    `${service}/Info`,
    async (call) => {
      for await (const message of call.messages) {
        const { digest } = fromBinary(content.InfoRequestSchema, message);
        const info = create(content.InfoSchema, { digest, size: BigInt(blobOf(call, digest).length) });
        await call.send(toBinary(content.InfoResponseSchema, create(content.InfoResponseSchema, { info })));
        return;
      }
    },
  ];
  yield [
    `${service}/Read`,
    async (call) => {
      for await (const message of call.messages) {
        const { digest, offset, size } = fromBinary(content.ReadContentRequestSchema, message);
        const whole = blobOf(call, digest);
        const blob = size === 0n ? whole : whole.subarray(0, Number(offset + size));
        for (let at = Number(offset); at < blob.length; at += 1000) {
          const part = { offset: BigInt(at), data: blob.subarray(at, at + 1000) };
          await call.send(
            toBinary(content.ReadContentResponseSchema, create(content.ReadContentResponseSchema, part)),
          );
        }
        return;
      }
    },
  ];
  yield [`${service}/Write`, (call) => write(call, storeOf(call))];
  yield [
    `${service}/List`,
    async (call) => {
      // In the order of digests, as a folder has them; each message has some of them.
      const blobs = [...storeOf(call)].sort(([a], [b]) => (a < b ? -1 : 1));
      for (let at = 0; at < blobs.length; at += 3) {
        const info = blobs.slice(at, at + 3).map(([digest, blob]) => ({ digest, size: BigInt(blob.length) }));
        const part = create(content.ListContentResponseSchema, { info });
        await call.send(toBinary(content.ListContentResponseSchema, part));
      }
    },
  ];
  yield [
    `${service}/Delete`,
    async (call) => {
      for await (const message of call.messages) {
        const { digest } = fromBinary(content.DeleteContentRequestSchema, message);
        blobOf(call, digest);
        storeOf(call).delete(digest);
        await call.send(new Uint8Array());
        return;
      }
    },
  ];
}

async function write(call: Call, store: Blobs): Promise<void> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const message of call.messages) {
    const request = fromBinary(content.WriteContentRequestSchema, message);
    if (store.has(request.expected)) throw new Status(6, `content ${request.expected}: already exists`);
    if (request.action === content.WriteAction.WRITE) {
      if (request.offset !== BigInt(size)) throw new Status(11, `write at ${request.offset}, not ${size}`);
      parts.push(Buffer.from(request.data));
      size += request.data.length;
    }
    if (request.action === content.WriteAction.COMMIT) {
      const blob = Buffer.concat(parts);
      const digest = `sha256:${createHash('sha256').update(blob).digest('hex')}`;
      if (digest !== request.expected) throw new Status(9, `unexpected digest ${digest}`);
      store.set(digest, blob);
    }
    await call.send(
      toBinary(
        content.WriteContentResponseSchema,
        create(content.WriteContentResponseSchema, { action: request.action, offset: BigInt(size) }),
      ),
    );
  }
}
