/**
 * Carries the bytes of one call between the main thread, which has the connection, and the worker that speaks fsutil's
 * protocol on it: whole batches of bytes in both directions, with back-pressure in both.
 */
import type { MessagePort } from 'node:worker_threads';
import { canceled } from '../../errors/index.ts';
import { type PlainError, packError, taskError } from '../../workers/index.ts';

/** A message to the worker. `sent` is the number of the worker's bytes that are on the wire. */
type ToWorker = { bytes: Uint8Array } | { end: true } | { error: PlainError } | { sent: number };
/** A message from the worker. `taken` is the number of bytes that the worker has dealt with. */
type FromWorker = { bytes: Uint8Array } | { taken: number };

/** How many bytes for the worker may be out before no more is read from the connection. */
const maxAhead = 4 << 20;
/** How many bytes of the worker's may be out before it waits. */
const maxUnsent = 2 << 20;

/** The connection's side of a pipe. */
interface Wire {
  /** Sends bytes to the peer; `sent` is called when they are out. */
  write(bytes: Uint8Array, sent: () => void): void;
  pause(): void;
  resume(): void;
}

/** On the main thread: joins a port to a connection's call. */
export class MainPipe {
  readonly #port: MessagePort;
  readonly #wire: Wire;
  #batch: Uint8Array[] = [];
  #batched = 0;
  #ahead = 0;
  #paused = false;
  #scheduled = false;

  constructor(port: MessagePort, wire: Wire) {
    this.#port = port;
    this.#wire = wire;
    port.on('message', (message: FromWorker) => {
      if ('bytes' in message) {
        const { length } = message.bytes;
        wire.write(message.bytes, () => this.#post({ sent: length }));
        return;
      }
      this.#ahead -= message.taken;
      if (!this.#paused || this.#ahead > maxAhead / 2) return;
      this.#paused = false;
      wire.resume();
    });
  }

  /** Takes bytes from the peer. */
  push(chunk: Uint8Array): void {
    this.#batch.push(chunk);
    this.#batched += chunk.length;
    this.#ahead += chunk.length;
    if (!this.#paused && this.#ahead > maxAhead) {
      this.#paused = true;
      this.#wire.pause();
    }
    if (this.#batched >= 512 * 1024) this.#flush();
    else if (!this.#scheduled) {
      // All that one turn of the event loop brings goes in one message.
      this.#scheduled = true;
      setImmediate(() => {
        this.#scheduled = false;
        this.#flush();
      });
    }
  }

  /** Says that the peer sends nothing more. */
  end(): void {
    this.#flush();
    this.#post({ end: true });
  }

  fail(err: unknown): void {
    this.#post({ error: packError(err) });
  }

  close(): void {
    this.#port.close();
  }

  #flush(): void {
    if (this.#batched === 0) return;
    const bytes = new Uint8Array(this.#batched);
    let at = 0;
    for (const chunk of this.#batch) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    this.#batch = [];
    this.#batched = 0;
    this.#port.postMessage({ bytes } satisfies ToWorker, [bytes.buffer]);
  }

  #post(message: ToWorker): void {
    this.#port.postMessage(message);
  }
}

/**
 * On the main thread: joins the ports of two workers, so that each is the other's peer. Returns their pipes, in the
 * same order.
 */
export function joinPorts(one: MessagePort, two: MessagePort): [MainPipe, MainPipe] {
  /** A side that is full, and the functions to call on the other side once it is not. */
  const side = () => ({ full: false, held: [] as (() => void)[] });
  const sides = [side(), side()] as [ReturnType<typeof side>, ReturnType<typeof side>];
  const pipe = (port: MessagePort, at: 0 | 1): MainPipe =>
    new MainPipe(port, {
      write(bytes, sent) {
        pipes[1 - at]!.push(bytes);
        const to = sides[at === 0 ? 1 : 0];
        if (to.full) to.held.push(sent);
        else sent();
      },
      pause() {
        sides[at].full = true;
      },
      resume() {
        sides[at].full = false;
        for (const sent of sides[at].held.splice(0)) sent();
      },
    });
  const pipes: [MainPipe, MainPipe] = [pipe(one, 0), pipe(two, 1)];
  return pipes;
}

/** On the worker: the other end. */
export class WorkerPipe {
  readonly #port: MessagePort;
  readonly #queue: ToWorker[] = [];
  #unsent = 0;
  #closed = false;
  #taken = 0;
  #wake: (() => void) | undefined;

  constructor(port: MessagePort) {
    this.#port = port;
    port.on('message', (message: ToWorker) => {
      if ('sent' in message) this.#unsent -= message.sent;
      else this.#queue.push(message);
      this.#wake?.();
    });
    port.on('close', () => {
      this.#closed = true;
      this.#wake?.();
    });
  }

  /**
   * The peer's next bytes; undefined when it sends nothing more. To ask means that the bytes before are dealt with.
   * Throws the connection's failure, or `canceled` when the main thread gave up.
   */
  async next(): Promise<Uint8Array | undefined> {
    if (this.#taken > 0) this.#port.postMessage({ taken: this.#taken } satisfies FromWorker);
    this.#taken = 0;
    for (;;) {
      const message = this.#queue.shift();
      if (message === undefined) {
        if (this.#closed) throw canceled('the connection was given up');
        await this.#woken();
        continue;
      }
      if ('error' in message) throw taskError(message.error);
      if (!('bytes' in message)) return undefined;
      this.#taken = message.bytes.length;
      return message.bytes;
    }
  }

  /** Hands bytes over without waiting. Their memory goes with them. */
  send(bytes: Uint8Array<ArrayBuffer>): void {
    if (bytes.length === 0) return;
    this.#unsent += bytes.length;
    this.#port.postMessage({ bytes } satisfies FromWorker, [bytes.buffer]);
  }

  /** Waits until the peer has taken most of the sent bytes. Throws as `next` does when it never will. */
  async room(): Promise<void> {
    while (this.#unsent > maxUnsent) {
      if (this.#closed) throw canceled('the connection was given up');
      const broken = this.#queue.find((message) => 'error' in message);
      if (broken !== undefined && 'error' in broken) throw taskError(broken.error);
      await this.#woken();
    }
  }

  close(): void {
    this.#port.close();
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
