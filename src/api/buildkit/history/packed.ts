/** The blobs of a record, compressed: the small ones at once, the output of a build in a stream. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { createGunzip, createGzip, gunzip, gzip, gzipSync } from 'node:zlib';
import type { Masks } from '../../../errors/index.ts';
import type { StatusResponse } from '../../../pb/moby/buildkit/v1/status_pb.js';
import { inTurns, isDue, nextTurn } from '../../../workers/index.ts';
import { maskStatus } from './masked.ts';
import { encodeStatus } from './status-blob.ts';

const gzipped = promisify<Uint8Array, Buffer>(gzip);
const gunzipped = promisify<Uint8Array, Buffer>(gunzip);
/** The most bytes that are compressed at once: a thread takes longer to hear of them. */
const little = 64 << 10;
/** About how many bytes of output are masked together, and with those before them. */
const window = 4 << 20;
/** The most bytes of output that a record keeps. */
const mostOutput = 64 << 20;
const leftOut = '\n[output left out: a record keeps 64 MiB]\n';

/** Compresses a blob. */
export function pack(data: Uint8Array): Buffer | Promise<Buffer> {
  return data.length <= little ? gzipSync(data) : gzipped(data);
}

/** Reads a blob that was compressed, in parts. */
export async function* unpack(packed: Uint8Array): AsyncGenerator<Buffer, void, undefined> {
  if (packed.length <= little) yield await gunzipped(packed);
  else yield* Readable.from([packed]).pipe(createGunzip()) as AsyncIterable<Buffer>;
}

/**
 * Makes the blob of a build's progress (`encodeStatus`), without the secrets, of messages that may be changed. A secret
 * that a step printed in pieces is found when the pieces are within 4 MiB of the build's output. Output beyond 64 MiB
 * is left out, and the blob says so.
 */
export async function packStatus(
  messages: Iterable<StatusResponse>,
  masks: Masks,
): Promise<{ digest: string; size: number; packed: Buffer }> {
  const packer = new Packer();
  let before: StatusResponse[] = [];
  let current: StatusResponse[] = [];
  let bytes = 0;
  const next = async () => {
    await inTurns(maskStatus([...before, ...current], masks));
    await packer.add(await inTurns(encodeStatus(before)));
    [before, current, bytes] = [current, [], 0];
  };
  for (const message of upTo(mostOutput, messages)) {
    if (isDue()) await nextTurn();
    current.push(message);
    for (const { msg } of message.logs) bytes += msg.length;
    if (bytes >= window) await next();
  }
  await next();
  await packer.add(await inTurns(encodeStatus(before)));
  return packer.end();
}

/** The messages with at most so many bytes of output. */
function* upTo(most: number, messages: Iterable<StatusResponse>): Generator<StatusResponse> {
  let left = most;
  for (const message of messages) {
    if (left <= 0 && message.logs.length > 0) continue;
    for (const log of message.logs) left -= log.msg.length;
    const last = message.logs.at(-1);
    if (left <= 0 && last !== undefined) last.msg = Buffer.concat([last.msg, Buffer.from(leftOut)]);
    yield message;
  }
}

/** Compresses a blob that comes in parts. A blob of one part, as most are, needs no stream. */
class Packer {
  readonly #hash = createHash('sha256');
  #first: Buffer | undefined;
  #stream: GzipStream | undefined;
  #size = 0;

  async add(data: Buffer): Promise<void> {
    if (data.length === 0) return;
    this.#hash.update(data);
    this.#size += data.length;
    if (this.#first === undefined) {
      this.#first = data;
      return;
    }
    if (this.#stream === undefined) {
      this.#stream = new GzipStream();
      await this.#stream.write(this.#first);
    }
    await this.#stream.write(data);
  }

  async end(): Promise<{ digest: string; size: number; packed: Buffer }> {
    const packed = await (this.#stream?.end() ?? pack(this.#first ?? Buffer.alloc(0)));
    return { digest: `sha256:${this.#hash.digest('hex')}`, size: this.#size, packed };
  }
}

/** gzip in a stream, into memory. */
class GzipStream {
  readonly #gzip = createGzip();
  readonly #out: Buffer[] = [];
  readonly #ended = once(this.#gzip, 'end');

  constructor() {
    this.#gzip.on('data', (chunk: Buffer) => this.#out.push(chunk));
  }

  async write(data: Buffer): Promise<void> {
    if (!this.#gzip.write(data)) await once(this.#gzip, 'drain');
  }

  async end(): Promise<Buffer> {
    this.#gzip.end();
    await this.#ended;
    return Buffer.concat(this.#out);
  }
}
