/** A byte stream from the main thread to a worker task, over a MessagePort, a few chunks ahead at most. */
import type { Readable } from 'node:stream';
import type { MessagePort } from 'node:worker_threads';
import { type PlainError, packError, taskError } from './wire.ts';

type Message = { chunk: Uint8Array } | { end: true } | { error: PlainError };

/** Chunks that may be under way at once. */
const ahead = 8;

/** Main thread: sends a stream's bytes as the other side takes them. Resolves when all is sent or the other side stopped. */
export async function sendStream(source: Readable, port: MessagePort): Promise<void> {
  let credit = ahead;
  let wake: (() => void) | undefined;
  let closed = false;
  port.on('message', () => {
    credit++;
    wake?.();
  });
  port.on('close', () => {
    closed = true;
    wake?.();
  });
  try {
    for await (const chunk of source) {
      while (credit === 0 && !closed) await new Promise<void>((resolve) => (wake = resolve));
      if (closed) return;
      credit--;
      const bytes: Buffer = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
      port.postMessage({ chunk: bytes } satisfies Message);
    }
    port.postMessage({ end: true } satisfies Message);
  } catch (err) {
    port.postMessage({ error: packError(err) } satisfies Message);
  } finally {
    source.destroy();
  }
}

/** Worker: the bytes that `sendStream` sends. Throws the source's error. */
export async function* receiveStream(port: MessagePort): AsyncGenerator<Uint8Array, void, undefined> {
  const queue: Message[] = [];
  let wake: (() => void) | undefined;
  let closed = false;
  port.on('message', (message: Message) => {
    queue.push(message);
    wake?.();
  });
  port.on('close', () => {
    closed = true;
    wake?.();
  });
  try {
    for (;;) {
      const message = queue.shift();
      if (message === undefined) {
        if (closed) throw new Error('the stream was closed before its end');
        await new Promise<void>((resolve) => (wake = resolve));
        continue;
      }
      if ('end' in message) return;
      if ('error' in message) throw taskError(message.error);
      port.postMessage('more');
      yield message.chunk;
    }
  } finally {
    port.close();
  }
}
