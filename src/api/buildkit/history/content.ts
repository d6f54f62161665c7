/**
 * containerd's content service, for reading only: the blobs that the caller's build records name (progress, traces,
 * errors), and those of the store, such as the manifests that builds made.
 */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { type Reach, reachOf } from '../../../auth/index.ts';
import { fail } from '../../../errors/index.ts';
import { isDigest } from '../../../oci/index.ts';
import type { Content, InfoSchema } from '../../../pb/containerd/content_pb.js';
import type { Store } from '../../../store/index.ts';
import { callerOf } from '../caller.ts';
import { timestamp } from '../timestamp.ts';
import type { History } from './history.ts';

/** The most bytes of one message. */
const messageBytes = 1 << 20;

type Methods = Pick<ServiceImpl<typeof Content>, 'info' | 'read' | 'list'>;

/** Makes the methods. */
export function contentService(history: History, store: Pick<Store, 'content'>): Methods {
  const find = async (reach: Reach, digest: string): Promise<Blob> => {
    await history.settled();
    const found =
      history.blob(reach, digest) ?? (isDigest(digest) ? await store.content.info(digest) : undefined);
    if (found === undefined) throw fail('not-found', 'store', `content ${digest}: not found`);
    return found;
  };
  return {
    async info({ digest }, context) {
      return { info: message(await find(reachOf(callerOf(context)), digest)) };
    },
    async *list(_request, context) {
      await history.settled();
      for await (const blob of history.blobs(reachOf(callerOf(context)))) yield { info: [message(blob)] };
    },
    async *read({ digest, offset, size: wanted }, context) {
      const reach = reachOf(callerOf(context));
      const { size } = await find(reach, digest);
      const from = Number(offset);
      const to = wanted > 0n ? Math.min(size, from + Number(wanted)) : size;
      if (from < 0 || from > size) {
        throw fail('invalid', 'client', `offset ${from} is outside of ${digest} (${size} bytes)`);
      }
      const kept = history.readBlob(reach, digest);
      if (kept !== undefined) {
        yield* partsOf(kept, from, to);
        return;
      }
      let at = from;
      const range = { offset: from, length: to - from };
      for await (const chunk of await store.content.read(digest as `sha256:${string}`, range)) {
        yield { offset: BigInt(at), data: chunk as Buffer };
        at += (chunk as Buffer).length;
      }
    },
  };
}

/** The bytes of a blob between two places, in messages. */
async function* partsOf(blob: AsyncIterable<Buffer>, from: number, to: number) {
  let begin = 0;
  for await (const chunk of blob) {
    const end = Math.min(to, begin + chunk.length);
    for (let at = Math.max(from, begin); at < end; at += messageBytes) {
      yield {
        offset: BigInt(at),
        data: chunk.subarray(at - begin, Math.min(end, at + messageBytes) - begin),
      };
    }
    begin += chunk.length;
    if (begin >= to) return;
  }
}

interface Blob {
  digest: string;
  size: number;
  createdAt: number;
  labels?: Record<string, string>;
}

function message({ digest, size, createdAt, labels }: Blob): MessageInitShape<typeof InfoSchema> {
  const at = timestamp(createdAt);
  return { digest, size: BigInt(size), createdAt: at, updatedAt: at, labels };
}
