/** The size of the trailers of an answer, in which the failure of a call travels. */
import type { Http2Session } from 'node:http2';
import { clip } from '../errors/index.ts';

/**
 * The bytes of trailers that nearly every client takes. Node's HTTP/2 breaks the whole connection off at a value above 64 KiB and
 * refuses more than that in all; grpc-go's clients take 16 MiB.
 */
export const usualTrailers = 60 << 10;

/** The bytes of trailers that the peer of a connection takes: less than usual when its settings say so. */
export function trailerRoom(session: Http2Session | undefined): number {
  const announced = session?.remoteSettings.maxHeaderListSize ?? usualTrailers;
  return Math.min(usualTrailers, announced);
}

/** The bytes of trailers that the message of a failure may have: with details it travels twice. */
export function messageRoom(room: number): number {
  return Math.floor(room / 4);
}

/** The text, with its middle left out where `encode` would make more than `max` characters of it. */
export function clipEncoded(text: string, max: number, encode: (text: string) => string): string {
  let length = Math.min(text.length, max);
  for (;;) {
    const clipped = clip(text, length).toWellFormed();
    const size = encode(clipped).length;
    if (size <= max || length <= 8) return clipped;
    length = Math.max(8, Math.min(length - 1, Math.floor((length * max) / size)));
  }
}
