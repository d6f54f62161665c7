/** The serving side of calls whose messages hold nothing but bytes (`BytesMessage`). */
import type { ServerHttp2Stream } from 'node:http2';
import { canceled } from '../errors/index.ts';
import { drained } from '../flow/index.ts';
import { bytesFrame, bytesIn, Deframer } from './frame.ts';

/** The bytes in one message: few enough for every receiver's limit. */
const chunkSize = 256 * 1024;

/** The bytes that the peer sends, until it ends its side. Throws `canceled` when it breaks the call off. */
export async function* receivedBytes(stream: ServerHttp2Stream): AsyncGenerator<Uint8Array> {
  const frames = new Deframer();
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    for (const message of frames.push(chunk as Buffer)) yield bytesIn(message);
  }
  if (stream.aborted) throw canceled('the call was broken off');
}

/** Sends bytes as fast as the peer takes them. Throws `canceled` when it breaks the call off. */
export async function sendBytes(stream: ServerHttp2Stream, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of bytes) {
    for (let at = 0; at < chunk.length; at += chunkSize) {
      if (stream.destroyed || stream.closed) throw canceled('the call was broken off');
      if (!stream.write(bytesFrame(chunk.subarray(at, at + chunkSize)))) await drained(stream);
    }
  }
}
