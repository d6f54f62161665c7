/** The client's side of one gRPC call, on an HTTP/2 stream. */
import { type ClientHttp2Stream, constants } from 'node:http2';
import { canceled, DrydockError } from '../errors/index.ts';
import { Deframer, frame, maxMessage } from './frame.ts';
import { type CallStatus, GrpcError, OK, statusIn, UNAVAILABLE, UNIMPLEMENTED, UNKNOWN } from './status.ts';

/** The error of a lost connection: closed by its peer, broken, or silent. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost';
}

/** One call under way. */
export class GrpcCall {
  readonly stream: ClientHttp2Stream;
  /** Resolves when the server ended the call with OK. Rejects with GrpcError, ConnectionLost or `canceled`. */
  readonly status: Promise<void>;

  /** `lost` tells why the connection is gone, for the calls that went with it. Firing `signal` cancels the call. */
  constructor(
    stream: ClientHttp2Stream,
    lost: () => ConnectionLost | undefined = () => undefined,
    signal?: AbortSignal,
  ) {
    this.stream = stream;
    let answer: CallStatus | undefined;
    let reset: Error | undefined;
    stream.on('response', (headers) => {
      const http = headers[':status'];
      // An answer without messages is one block of headers.
      answer = statusIn(headers);
      if (http === 200 || answer !== undefined) return;
      answer = { code: http === 404 ? UNIMPLEMENTED : UNAVAILABLE, message: `HTTP status ${http}` };
    });
    stream.on('trailers', (trailers) => {
      answer ??= statusIn(trailers);
    });
    stream.on('error', (err) => {
      reset = err;
    });
    const onAbort = () => stream.close(constants.NGHTTP2_CANCEL);
    signal?.addEventListener('abort', onAbort, { once: true });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.status = promise;
    promise.catch(() => {}); // its readers get the error
    const settle = () => {
      signal?.removeEventListener('abort', onAbort);
      if (answer?.code === OK) resolve();
      else if (answer !== undefined) reject(new GrpcError(answer.code, answer.message));
      else if (signal?.aborted) reject(canceled(signal.reason));
      else
        reject(lost() ?? new ConnectionLost(reset?.message ?? 'the call was broken off', { cause: reset }));
    };
    stream.on('end', () => {
      if (answer !== undefined) settle();
    });
    // The reason of a closed connection may become known only after its calls are closed.
    stream.on('close', () => setImmediate(settle));
  }

  /**
   * Sends one message and returns the server's first, of at most `most` bytes. Rejects like `status`, and with
   * `invalid` (hop `session`) when the answer is no message.
   */
  async exchange(request: Uint8Array, most = maxMessage): Promise<Uint8Array> {
    const frames = new Deframer(most);
    let answer: Uint8Array | undefined;
    let wrong: unknown;
    // Events cost less than a stream's iterator.
    this.stream.on('data', (chunk: Buffer) => {
      try {
        const [message] = frames.push(chunk);
        answer ??= message;
      } catch (err) {
        wrong ??= err;
        this.cancel();
      }
    });
    this.stream.end(frame(request));
    try {
      await this.status;
    } catch (err) {
      throw wrong ?? err;
    }
    if (wrong !== undefined) throw wrong;
    if (answer === undefined) throw new GrpcError(UNKNOWN, 'the answer is empty');
    return answer;
  }

  /** The server's messages. Throws the errors of `status`; ending the iteration early cancels the call. */
  async *messages(): AsyncGenerator<Uint8Array, void, undefined> {
    const deframer = new Deframer();
    let whole = false;
    try {
      try {
        for await (const chunk of this.stream) yield* deframer.push(chunk);
      } catch (err) {
        if (err instanceof DrydockError) throw err;
        // The stream's own error says less than the status.
      }
      whole = true;
      await this.status;
    } finally {
      if (!whole) this.cancel();
    }
  }

  cancel(): void {
    if (!this.stream.closed) this.stream.close(constants.NGHTTP2_CANCEL);
  }
}
