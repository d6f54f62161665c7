/** Writes a tar into a stream as fast as the stream takes it. */
import { DrydockError, fail, throwIfAborted } from '../errors/index.ts';
import { endOfArchive, header, padding } from '../tar/index.ts';

/** Writes bytes to a stream with back-pressure, and reports the stream's failure. */
export class SinkWriter {
  readonly #output: NodeJS.WritableStream & { readonly destroyed?: boolean; readonly errored?: Error | null };
  readonly #signal: AbortSignal;
  #error: Error | undefined;
  #closed = false;
  #wake: (() => void) | undefined;

  constructor(output: NodeJS.WritableStream, signal: AbortSignal) {
    this.#output = output;
    this.#signal = signal;
    const wake = () => this.#wake?.();
    output.on('error', (err: Error) => {
      this.#error ??= err;
      wake();
    });
    output.on('close', () => {
      this.#closed = true;
      wake();
    });
    output.on('drain', wake);
    signal.addEventListener('abort', wake, { once: true });
  }

  /** Throws `canceled`; throws `unavailable` when the reader is gone. */
  async write(chunk: Uint8Array): Promise<void> {
    this.#check();
    if (this.#output.write(chunk)) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#check();
  }

  /** Waits until all bytes are out. Stdout stays open: the whole process uses it. */
  async end(): Promise<void> {
    this.#check();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const done = (err?: Error | null) => (err ? reject(err) : resolve());
    this.#output.once('error', reject);
    this.#output.once('close', () => reject(new Error('it was closed')));
    const onAbort = () => reject(this.#signal.reason);
    this.#signal.addEventListener('abort', onAbort, { once: true });
    if (this.#output === process.stdout) this.#output.write('', done);
    else {
      this.#output.once('finish', () => done());
      this.#output.end();
    }
    try {
      await promise;
    } catch (err) {
      throwIfAborted(this.#signal);
      throw this.#gone(err);
    } finally {
      this.#signal.removeEventListener('abort', onAbort);
    }
  }

  /** Breaks the stream off, so that its reader does not take it for whole. */
  abort(err: unknown): void {
    const output = this.#output as NodeJS.WritableStream & { destroy?(err?: Error): void };
    if (this.#output !== process.stdout) output.destroy?.(err instanceof Error ? err : undefined);
  }

  #check(): void {
    throwIfAborted(this.#signal);
    // One that was closed before we listened takes writes without a word, and the 'error' of one that breaks comes a
    // turn after it is destroyed: the stream itself knows at once.
    const closed = this.#closed || this.#output.destroyed === true;
    const error = this.#error ?? this.#output.errored ?? undefined;
    if (error !== undefined || closed) throw this.#gone(error);
  }

  #gone(cause: unknown): Error {
    // A client's stream tells on its own what was asked of the client.
    if (cause instanceof DrydockError) return cause;
    const why = cause instanceof Error ? cause.message : 'it was closed';
    return fail('unavailable', 'export', `writing the output failed: ${why}`, { cause });
  }
}

export class TarStream {
  readonly #sink: SinkWriter;

  constructor(output: NodeJS.WritableStream, signal: AbortSignal) {
    this.#sink = new SinkWriter(output, signal);
  }

  async folder(path: string): Promise<void> {
    await this.#sink.write(header({ ...plain, path, type: 'dir', mode: 0o755, size: 0 }));
  }

  /** Writes a file of `size` bytes. Throws `corrupt` when the source has fewer or more. */
  async file(
    path: string,
    size: number,
    source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    onBytes?: (n: number) => void,
  ): Promise<void> {
    await this.#sink.write(header({ ...plain, path, type: 'file', mode: 0o644, size }));
    let sent = 0;
    for await (const chunk of source) {
      sent += chunk.length;
      if (sent > size) break;
      await this.#sink.write(chunk);
      onBytes?.(chunk.length);
    }
    if (sent !== size) throw fail('corrupt', 'export', `${path} has not the ${size} bytes it should have`);
    const rest = padding(size);
    if (rest.length > 0) await this.#sink.write(rest);
  }

  async end(): Promise<void> {
    await this.#sink.write(endOfArchive);
    await this.#sink.end();
  }

  abort(err: unknown): void {
    this.#sink.abort(err);
  }
}

const plain = { uid: 0, gid: 0, mtimeNs: 0n } as const;
