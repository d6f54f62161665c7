/** A stream of an object that survives broken connections. */
import { Readable } from 'node:stream';
import { throwIfAborted } from '../errors/index.ts';
import type { RestClient } from './rest.ts';
import { isPassing, troubled, troubleOf, unreachable } from './trouble.ts';

interface Part {
  /** The object, for messages. */
  key: string;
  host: string;
  /** The first byte, and the one after the last. */
  start: number;
  end: number;
  signal?: AbortSignal;
}

/**
 * The bytes of a part of an object: those of `first`, and after a break those that `open` gives from an offset on. The
 * stream ends with an error when it cannot go on, or when there are fewer or more bytes than the part has.
 */
export function resuming(
  client: RestClient,
  first: Readable,
  open: (at: number) => Promise<Readable>,
  part: Part,
): Readable {
  return Readable.from(chunks(client, first, open, part), { objectMode: false, highWaterMark: 256 << 10 });
}

async function* chunks(
  client: RestClient,
  first: Readable,
  open: (at: number) => Promise<Readable>,
  { key, host, start, end, signal }: Part,
): AsyncGenerator<Buffer> {
  const doing = `reading ${key} of ${client.name}`;
  let stream: Readable | undefined = first;
  let at = start;
  for (let attempt = 1; ; attempt++) {
    let failure: Error;
    try {
      stream ??= await open(at);
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        at += chunk.length;
        if (at > end) throw troubled('other', `${doing}: the store sent more than was asked for`);
        attempt = 1;
        yield chunk;
      }
      if (at === end) return;
      failure = troubled(
        'temporary',
        `${doing}: the store ended it after ${at - start} of ${end - start} bytes`,
      );
    } catch (err) {
      throwIfAborted(signal);
      failure = unreachable(doing, host, err);
      if (!isPassing(troubleOf(failure))) throw failure;
    }
    stream = undefined;
    if (attempt >= client.tries) throw failure;
    await client.pause(attempt, signal);
  }
}
