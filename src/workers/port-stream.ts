/**
 * Byte streams over a MessagePort, with back-pressure: at most `window` chunks are sent that the receiver has not
 * taken. Either end may be on either thread; errors cross with all their fields.
 */
import type { MessagePort } from 'node:worker_threads';
import { canceled, fail } from '../errors/index.ts';
import { orAbort } from '../flow/index.ts';
import { notePassed } from './large-stream.ts';
import { type PlainError, packError, taskError } from './wire.ts';

type Message =
  | { chunk: Uint8Array }
  | { end: true }
  | { error: PlainError }
  | { taken: true }
  | { stop: true };

const window = 8;

/** The sending end. `write` copies nothing: a chunk that is all of its buffer is handed over with its memory. */
export class PortSender {
  #port: MessagePort;
  #credits = window;
  #wake: (() => void) | undefined;
  #stopped = false;

  constructor(port: MessagePort) {
    this.#port = port;
    port.on('message', (message: Message) => {
      if ('taken' in message) this.#credits++;
      if ('stop' in message) this.#stopped = true;
      this.#wake?.();
    });
    port.on('close', () => {
      this.#stopped = true;
      this.#wake?.();
    });
  }

  /** Resolves when the chunk is on its way. Throws `canceled` when the receiver is gone. */
  async write(chunk: Uint8Array): Promise<void> {
    while (this.#credits === 0 && !this.#stopped) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#stopped) throw canceled('the receiver stopped');
    this.#credits--;
    const own = chunk.byteLength === chunk.buffer.byteLength && chunk.buffer instanceof ArrayBuffer;
    this.#port.postMessage({ chunk } satisfies Message, own ? [chunk.buffer as ArrayBuffer] : []);
  }

  end(): void {
    this.#port.postMessage({ end: true } satisfies Message);
    this.#release();
  }

  fail(err: unknown): void {
    this.#port.postMessage({ error: packError(err) } satisfies Message);
    this.#release();
  }

  #release(): void {
    // The receiver closes the port when it has read the end.
    this.#port.unref();
  }
}

/**
 * Sends a whole stream or its failure. It never rejects, since the receiver throws the failure. When the signal fires,
 * the receiver is told at once, even if the source has stalled.
 */
export async function sendStream(
  port: MessagePort,
  source: AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<void> {
  const sender = new PortSender(port);
  const pump = async () => {
    for await (const chunk of source) {
      notePassed(chunk.length);
      await sender.write(chunk);
    }
  };
  try {
    await orAbort(pump(), signal);
    sender.end();
  } catch (err) {
    sender.fail(err);
  }
}

/** The receiving end: yields the chunks, throws the sender's error, and tells the sender when it stops early. */
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
        if (closed) throw fail('unavailable', 'host', 'the other end of a stream between threads is gone');
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      if ('end' in message) return;
      if ('error' in message) throw taskError(message.error);
      if (!('chunk' in message)) continue;
      yield message.chunk;
      port.postMessage({ taken: true } satisfies Message);
    }
  } finally {
    port.postMessage({ stop: true } satisfies Message);
    port.close();
  }
}

/**
 * The bytes that a task sends on the other end of the port. Unlike `receiveStream` alone, this also ends when the task
 * failed before it sent anything, or was given up before it began; then it throws the task's own error.
 */
export async function* receiveFromTask(
  port: MessagePort,
  task: Promise<unknown>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let failed = false;
  task.catch(() => {
    failed = true;
    port.close();
  });
  try {
    yield* receiveStream(port);
  } catch (err) {
    if (failed) await task;
    throw err;
  }
}
