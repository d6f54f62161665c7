import { Duplex } from 'node:stream';

/**
 * A connection that begins with bytes which were read already. Node's HTTP/2 takes over a socket's handle, so bytes put
 * back into the socket itself could get lost.
 */
export function withHead(connection: Duplex, head: Buffer): Duplex {
  return head.length === 0 ? connection : new HeadedStream(connection, head);
}

class HeadedStream extends Duplex {
  readonly #connection: Duplex;

  constructor(connection: Duplex, head: Buffer) {
    super({ allowHalfOpen: true });
    this.#connection = connection;
    this.push(head);
    connection.on('data', (chunk) => {
      if (!this.push(chunk)) connection.pause();
    });
    connection.pause();
    connection.once('end', () => this.push(null));
    connection.once('error', (err) => this.destroy(err));
    connection.once('close', () => this.destroy());
  }

  override _read(): void {
    this.#connection.resume();
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (err?: Error | null) => void): void {
    this.#connection.write(chunk, done);
  }

  override _final(done: () => void): void {
    this.#connection.end(done);
  }

  override _destroy(err: Error | null, done: (err: Error | null) => void): void {
    this.#connection.destroy();
    done(err);
  }
}
