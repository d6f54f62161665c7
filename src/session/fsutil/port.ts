/**
 * Carries the bytes of one call between the main thread, which has the connection, and the worker that speaks fsutil's
 * protocol on it: whole batches of bytes in both directions, with back-pressure in both.
 */
import type { MessagePort } from 'node:worker_threads';
import { canceled } from '../../errors/index.ts';
import { type PlainError, packError, taskError } from '../../workers/index.ts';
import { type RingPart, RingReader, RingWriter } from './ring.ts';

/**
 * A batch of bytes for the other side: a part of its sender's ring, or bytes of their own when the ring is full. The
 * other side answers each with `done`, in order.
 */
type Batch = { part: RingPart } | { bytes: Uint8Array };
type NewRing = { ring: SharedArrayBuffer };
/** `ring` is the memory of the parts that follow; `done`: a batch was dealt with. */
type ToWorker = Batch | NewRing | { done: true } | { end: true } | { error: PlainError };
type FromWorker = Batch | NewRing | { done: true };

/** How many bytes for the worker may be out before no more is read from the connection. */
const maxAhead = 4 << 20;
/** How many bytes of the worker's may be out before it waits. */
const maxUnsent = 2 << 20;
/** The bytes of a batch for the worker, after which it is told of them at once. */
const fullBatch = 256 << 10;

/** With so many batches on their way, the worker is busy: what comes meanwhile goes together in the next one. */
const enoughBatches = 2;

/** One side's batches on their way. */
class Sending {
  /** The bytes that are out. */
  ahead = 0;
  readonly #port: MessagePort;
  readonly #ring: RingWriter;
  readonly #out: { length: number; inRing: boolean }[] = [];

  constructor(port: MessagePort, most: number) {
    this.#port = port;
    this.#ring = new RingWriter(most, (ring) => port.postMessage({ ring }));
  }

  /** The batches that are out. */
  get batches(): number {
    return this.#out.length;
  }

  /** Sends chunks, which are copied. */
  send(chunks: readonly Uint8Array[], length: number): void {
    const part = this.#ring.write(chunks, length);
    this.ahead += length;
    this.#out.push({ length, inRing: part !== undefined });
    if (part !== undefined) {
      this.#port.postMessage({ part } satisfies Batch);
      return;
    }
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const chunk of chunks) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    this.#port.postMessage({ bytes } satisfies Batch, [bytes.buffer]);
  }

  /** Notes that the oldest batch was dealt with. */
  done(): void {
    const batch = this.#out.shift();
    if (batch === undefined) return;
    this.ahead -= batch.length;
    if (batch.inRing) this.#ring.free();
  }
}

/** The connection's side of a pipe. */
interface Wire {
  /** Sends bytes to the peer; `sent` is called when they are out. The memory of the bytes is free for others then. */
  write(bytes: Uint8Array, sent: () => void): void;
  pause(): void;
  resume(): void;
}

/** On the main thread: joins a port to a connection's call. */
export class MainPipe {
  readonly #port: MessagePort;
  readonly #wire: Wire;
  readonly #sending: Sending;
  readonly #ring = new RingReader();
  #batch: Uint8Array[] = [];
  #batched = 0;
  #paused = false;
  #scheduled = false;

  constructor(port: MessagePort, wire: Wire) {
    this.#port = port;
    this.#wire = wire;
    this.#sending = new Sending(port, maxAhead + 2 * fullBatch);
    port.on('message', (message: FromWorker) => {
      if ('ring' in message) this.#ring.use(message.ring);
      else if ('done' in message) this.#done();
      else {
        const bytes = 'part' in message ? this.#ring.read(message.part) : message.bytes;
        wire.write(bytes, () => this.#post({ done: true }));
      }
    });
  }

  /** Takes bytes from the peer, whose memory must stay as it is. */
  push(chunk: Uint8Array): void {
    this.#batch.push(chunk);
    this.#batched += chunk.length;
    if (!this.#paused && this.#sending.ahead + this.#batched > maxAhead) {
      this.#paused = true;
      this.#wire.pause();
    }
    if (this.#batched >= fullBatch) this.#flush();
    else if (!this.#scheduled && this.#sending.batches < enoughBatches) {
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

  #done(): void {
    this.#sending.done();
    if (!this.#scheduled && this.#sending.batches < enoughBatches) this.#flush();
    if (!this.#paused || this.#sending.ahead > maxAhead / 2) return;
    this.#paused = false;
    this.#wire.resume();
  }

  #flush(): void {
    if (this.#batched === 0) return;
    this.#sending.send(this.#batch, this.#batched);
    this.#batch = [];
    this.#batched = 0;
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
        pipes[1 - at]!.push(Buffer.from(bytes));
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
  readonly #queue: Exclude<ToWorker, { done: true }>[] = [];
  readonly #sending: Sending;
  readonly #ring = new RingReader();
  #closed = false;
  /** Whether the caller has a batch that was not answered yet. */
  #lent = false;
  #wake: (() => void) | undefined;

  constructor(port: MessagePort) {
    this.#port = port;
    this.#sending = new Sending(port, 2 * maxUnsent);
    port.on('message', (message: ToWorker) => {
      if ('done' in message) this.#sending.done();
      else this.#queue.push(message);
      this.#wake?.();
    });
    port.on('close', () => {
      this.#closed = true;
      this.#wake?.();
    });
  }

  /**
   * The peer's next bytes; undefined when it sends nothing more. To ask means that the bytes before are dealt with: their
   * memory gets others. Throws the connection's failure, or `canceled` when the main thread gave up.
   */
  async next(): Promise<Uint8Array | undefined> {
    if (this.#lent) this.#port.postMessage({ done: true } satisfies FromWorker);
    this.#lent = false;
    for (;;) {
      const message = this.#queue.shift();
      if (message === undefined) {
        if (this.#closed) throw canceled('the connection was given up');
        await this.#woken();
        continue;
      }
      if ('ring' in message) {
        this.#ring.use(message.ring);
        continue;
      }
      if ('error' in message) throw taskError(message.error);
      if ('end' in message) return undefined;
      this.#lent = true;
      return 'part' in message ? this.#ring.read(message.part) : message.bytes;
    }
  }

  /** Hands bytes over without waiting. They are copied. */
  send(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#sending.send([bytes], bytes.length);
  }

  /** Waits until the peer has taken most of the sent bytes. Throws as `next` does when it never will. */
  async room(): Promise<void> {
    while (this.#sending.ahead > maxUnsent) {
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
