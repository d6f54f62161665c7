/**
 * The Write call of containerd's content service. Its messages carry whole layers: their bytes go to the connection as
 * they are, where connect would copy each of them four times.
 */
import type { ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  type WriteAction,
  WriteContentRequestSchema,
  type WriteContentResponse,
  WriteContentResponseSchema,
} from '../../pb/containerd/content_pb.js';
import type { Connection } from './connection.ts';
import { broken, failure, prefix } from './unary-calls.ts';

const path = '/containerd.services.content.v1.Content/Write';
/** `data` of a WriteContentRequest: field 6, length-delimited. */
const dataTag = (6 << 3) | 2;

export interface WriteMessage {
  action: WriteAction;
  ref?: string;
  total?: bigint;
  expected?: string;
  offset?: bigint;
  data?: Uint8Array;
  labels?: Record<string, string>;
}

/** The two directions of one call. */
export class WriteStream {
  readonly #stream: Promise<ClientHttp2Stream>;
  /** Answers that nobody has asked for yet. */
  readonly #answers: WriteContentResponse[] = [];
  #came: Buffer = Buffer.alloc(0);
  /** Settles when the call is over: well, or with what it failed with (a ConnectError). */
  readonly #over = Promise.withResolvers<undefined>();
  #wake: (() => void) | undefined;
  #isOver = false;

  constructor(connection: Connection, lease: string) {
    this.#over.promise.catch(() => {}); // whoever asks gets it
    this.#stream = connection.open(path, lease).then((stream) => this.#follow(stream));
    this.#stream.catch((err) => this.#end(err));
  }

  #follow(stream: ClientHttp2Stream): ClientHttp2Stream {
    let trailers: IncomingHttpHeaders | undefined;
    let cause: unknown;
    stream.on('response', (headers) => {
      if (headers['grpc-status'] !== undefined) trailers = headers;
    });
    stream.on('trailers', (headers) => {
      trailers = headers;
    });
    stream.on('data', (chunk: Buffer) => this.#take(chunk));
    stream.on('error', (err) => {
      cause = err;
    });
    stream.on('close', () => {
      const status = trailers?.['grpc-status'];
      if (status === '0') this.#end();
      else this.#end(trailers === undefined || status === undefined ? broken(cause) : failure(trailers));
    });
    return stream;
  }

  #take(chunk: Buffer): void {
    const all = this.#came.length === 0 ? chunk : Buffer.concat([this.#came, chunk]);
    let at = 0;
    while (all.length - at >= prefix) {
      const end = at + prefix + all.readUInt32BE(at + 1);
      if (end > all.length) break;
      this.#answers.push(fromBinary(WriteContentResponseSchema, all.subarray(at + prefix, end)));
      at = end;
    }
    this.#came = all.subarray(at);
    this.#wake?.();
  }

  #end(err?: unknown): void {
    this.#isOver = true;
    if (err === undefined) this.#over.resolve(undefined);
    else this.#over.reject(err);
    this.#wake?.();
  }

  /** Sends a message; resolves when its bytes may be used again. Throws what the call failed with. */
  async send({ data, ...rest }: WriteMessage): Promise<void> {
    const stream = await this.#stream;
    const head = headOf(toBinary(WriteContentRequestSchema, create(WriteContentRequestSchema, rest)), data);
    stream.cork();
    const sent = new Promise<boolean>((resolve) => {
      if (data === undefined) stream.write(head, (err) => resolve(!err));
      else {
        stream.write(head);
        stream.write(data, (err) => resolve(!err));
      }
    });
    stream.uncork();
    if (await sent) return;
    await this.#over.promise;
    throw broken(new Error('the call ended'));
  }

  /** The next answer; undefined at the end. Throws what the call failed with. */
  async receive(): Promise<WriteContentResponse | undefined> {
    for (;;) {
      const answer = this.#answers.shift();
      if (answer !== undefined) return answer;
      if (this.#isOver) return this.#over.promise;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Says that nothing more comes, and waits until containerd has let go of the ingest. */
  async end(): Promise<void> {
    (await this.#stream).end();
    while ((await this.receive()) !== undefined);
  }
}

/** What comes before the data of a message: its length as gRPC has it, its other fields, and the data's own length. */
function headOf(fields: Uint8Array, data: Uint8Array | undefined): Buffer {
  const tag: number[] = [];
  if (data !== undefined) {
    tag.push(dataTag);
    let rest = data.byteLength;
    for (; rest > 0x7f; rest >>>= 7) tag.push((rest & 0x7f) | 0x80);
    tag.push(rest);
  }
  const head = Buffer.alloc(prefix);
  head.writeUInt32BE(fields.length + tag.length + (data?.byteLength ?? 0), 1);
  return Buffer.concat([head, fields, Buffer.from(tag)]);
}
