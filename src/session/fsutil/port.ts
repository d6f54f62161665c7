/**
 * Carries the bytes of one call between the main thread, which has the connection, and the worker that speaks fsutil's
 * protocol on it: whole batches of bytes in both directions, with back-pressure in both.
 */
import type { MessagePort } from 'node:worker_threads';
import { canceled } from '../../errors/index.ts';
import { Pace } from '../../flow/index.ts';
import { type PlainError, packError, taskError } from '../../workers/index.ts';
import { type RingPart, RingReader, RingWriter } from './ring.ts';

/** A batch of bytes for the other side: a part of its sender's ring, or bytes of their own when the ring is full. */
type Batch = { part: RingPart } | { bytes: Uint8Array };
/**
 * Either side's messages. `ring` is the memory of the parts that follow, `acks` (the first message) that in which batches
 * are acknowledged, and `wake` answers a side that waits for acknowledgements.
 */
type Told = Batch | { ring: SharedArrayBuffer } | { acks: SharedArrayBuffer } | { wake: true };
type ToWorker = Told | { end: true } | { error: PlainError };

/** How many bytes for the worker may be out before no more is read from the connection. */
const maxAhead = 4 << 20;
/** How many bytes of the worker's may be out before it waits. */
const maxUnsent = 2 << 20;
/** The bytes of a batch for the worker, after which it is told of them at once. */
const fullBatch = 256 << 10;

/** The time between two messages to a worker, when bytes come thick and fast, in ms. */
const gapMs = 2;

/** With so many batches on their way, the worker is busy: what comes meanwhile goes together in the next one. */
const enoughBatches = 2;

/** The words of acknowledgements: how many batches were dealt with, and whether the sender waits for that. */
const dealtWith = 0;
const isAwaited = 1;

/**
 * One side's batches on their way. They are acknowledged in memory that both sides see: a message for each would cost
 * more than most batches.
 */
class Sending {
  /** The bytes that are out. */
  ahead = 0;
  readonly #port: MessagePort;
  readonly #ring: RingWriter;
  readonly #acks = new Int32Array(new SharedArrayBuffer(8));
  readonly #out: { length: number; inRing: boolean }[] = [];
  /** How many batches were taken off `#out`. */
  #seen = 0;

  constructor(port: MessagePort, most: number) {
    this.#port = port;
    port.postMessage({ acks: this.#acks.buffer } satisfies Told);
    this.#ring = new RingWriter(most, (ring) => port.postMessage({ ring } satisfies Told));
  }

  /** The batches that are out. */
  get batches(): number {
    return this.#out.length;
  }

  /** Sends chunks, which are copied. */
  send(chunks: readonly Uint8Array[], length: number): void {
    this.look();
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

  /** Takes note of the batches that were dealt with. */
  look(): void {
    for (let left = (Atomics.load(this.#acks, dealtWith) - this.#seen) | 0; left > 0; left--) {
      this.#seen = (this.#seen + 1) | 0;
      const batch = this.#out.shift();
      if (batch === undefined) return;
      this.ahead -= batch.length;
      if (batch.inRing) this.#ring.free();
    }
  }

  /** Asks for a `wake` after the next acknowledgement, and looks once more at those that are there. */
  await(): void {
    Atomics.store(this.#acks, isAwaited, 1);
    this.look();
  }
}

/** The receiving end of the other side's batches. */
class Receiving {
  readonly #port: MessagePort;
  readonly #ring = new RingReader();
  #acks: Int32Array | undefined;

  constructor(port: MessagePort) {
    this.#port = port;
  }

  /** Takes memory that the other side has told of. */
  use(message: { ring: SharedArrayBuffer } | { acks: SharedArrayBuffer }): void {
    if ('ring' in message) this.#ring.use(message.ring);
    else this.#acks = new Int32Array(message.acks);
  }

  /** The bytes of a batch, until it is acknowledged. */
  read(batch: Batch): Uint8Array {
    return 'part' in batch ? this.#ring.read(batch.part) : batch.bytes;
  }

  /** Acknowledges the oldest batch. */
  done(): void {
    if (this.#acks === undefined) return;
    Atomics.add(this.#acks, dealtWith, 1);
    if (Atomics.exchange(this.#acks, isAwaited, 0) === 1)
      this.#port.postMessage({ wake: true } satisfies Told);
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
  #batch: Uint8Array[] = [];
  #batched = 0;
  #paused = false;
  #scheduled = false;
  readonly #pace = new Pace(gapMs);

  constructor(port: MessagePort, wire: Wire) {
    this.#port = port;
    this.#wire = wire;
    this.#sending = new Sending(port, maxAhead + 2 * fullBatch);
    const receiving = new Receiving(port);
    const done = () => receiving.done();
    port.on('message', (message: Told) => {
      if ('wake' in message) this.#wait();
      else if ('ring' in message || 'acks' in message) receiving.use(message);
      else wire.write(receiving.read(message), done);
    });
  }

  /** Takes bytes from the peer, whose memory must stay as it is. */
  push(chunk: Uint8Array): void {
    this.#batch.push(chunk);
    this.#batched += chunk.length;
    if (this.#batched >= fullBatch) this.#flush();
    if (!this.#paused && this.#sending.ahead + this.#batched > maxAhead) {
      this.#paused = true;
      this.#wire.pause();
      this.#wait();
    }
    if (this.#batched === 0 || this.#scheduled) return;
    // All that one turn of the event loop brings goes in one message: a message to a thread costs more than most bytes.
    this.#scheduled = true;
    this.#pace.next(() => {
      this.#scheduled = false;
      this.#wait();
    });
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

  /** Goes on as far as that is possible now, and for the rest when the worker has dealt with more. */
  #wait(): void {
    this.#sending.look();
    if (this.#goOn()) return;
    this.#sending.await();
    this.#goOn();
  }

  /** Sends what waits, and has the wire go on, unless the worker is busy. Returns whether nothing waits any more. */
  #goOn(): boolean {
    if (this.#batched > 0 && this.#sending.batches < enoughBatches) this.#flush();
    if (this.#paused && this.#sending.ahead <= maxAhead / 2) {
      this.#paused = false;
      this.#wire.resume();
    }
    return this.#batched === 0 && !this.#paused;
  }

  #flush(): void {
    if (this.#batched === 0) return;
    const batch = this.#batch;
    const length = this.#batched;
    this.#batch = [];
    this.#batched = 0;
    this.#sending.send(batch, length);
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
  readonly #queue: Exclude<ToWorker, { wake: true }>[] = [];
  readonly #sending: Sending;
  readonly #receiving: Receiving;
  #closed = false;
  /** Whether the caller has a batch that was not answered yet. */
  #lent = false;
  #wake: (() => void) | undefined;

  constructor(port: MessagePort) {
    this.#port = port;
    this.#sending = new Sending(port, 2 * maxUnsent);
    this.#receiving = new Receiving(port);
    port.on('message', (message: ToWorker) => {
      if (!('wake' in message)) this.#queue.push(message);
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
    if (this.#lent) this.#receiving.done();
    this.#lent = false;
    for (;;) {
      const message = this.#queue.shift();
      if (message === undefined) {
        if (this.#closed) throw canceled('the connection was given up');
        await this.#woken();
        continue;
      }
      if ('ring' in message || 'acks' in message) {
        this.#receiving.use(message);
        continue;
      }
      if ('error' in message) throw taskError(message.error);
      if ('end' in message) return undefined;
      this.#lent = true;
      return this.#receiving.read(message);
    }
  }

  /** Hands bytes over without waiting. They are copied. */
  send(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#sending.send([bytes], bytes.length);
  }

  /** Waits until the peer has taken most of the sent bytes. Throws as `next` does when it never will. */
  async room(): Promise<void> {
    this.#sending.look();
    while (this.#sending.ahead > maxUnsent) {
      if (this.#closed) throw canceled('the connection was given up');
      const broken = this.#queue.find((message) => 'error' in message);
      if (broken !== undefined && 'error' in broken) throw taskError(broken.error);
      this.#sending.await();
      if (this.#sending.ahead <= maxUnsent) return;
      await this.#woken();
      this.#sending.look();
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
