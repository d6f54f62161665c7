/**
 * The Write call of containerd's content service. Its messages carry whole layers, so their bytes go to the connection
 * uncopied; connect would copy each of them four times.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Deframer, frameHead, type GrpcCall } from '../../grpc/index.ts';
import {
  type WriteAction,
  WriteContentRequestSchema,
  type WriteContentResponse,
  WriteContentResponseSchema,
} from '../../pb/containerd/content_pb.js';
import type { Connection } from './connection.ts';
import { broken, connectError, largestAnswer } from './unary-calls.ts';

const path = '/containerd.services.content.v1.Content/Write';
/** The field number of `data` in a WriteContentRequest. */
const dataField = 6;

/** A WriteContentRequest, whose `data` is sent uncopied. */
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
  readonly #call: Promise<GrpcCall>;
  /** Answers that have come and were not received yet. */
  readonly #answers: WriteContentResponse[] = [];
  /** Resolves when the call has ended well; rejects with the ConnectError it failed with. */
  readonly #over = Promise.withResolvers<undefined>();
  #wake: (() => void) | undefined;
  #isOver = false;

  constructor(connection: Connection, lease: string) {
    this.#over.promise.catch(() => {}); // the next call throws it
    this.#call = connection.open(path, lease).then((call) => this.#follow(call));
    this.#call.catch((err) => this.#end(err));
  }

  #follow(call: GrpcCall): GrpcCall {
    const frames = new Deframer(largestAnswer);
    call.stream.on('data', (chunk: Buffer) => {
      try {
        for (const message of frames.push(chunk)) {
          this.#answers.push(fromBinary(WriteContentResponseSchema, message));
        }
        this.#wake?.();
      } catch (err) {
        call.cancel();
        this.#end(connectError(err));
      }
    });
    call.status.then(
      () => this.#end(),
      (err) => this.#end(connectError(err)),
    );
    return call;
  }

  #end(err?: unknown): void {
    this.#isOver = true;
    if (err === undefined) this.#over.resolve(undefined);
    else this.#over.reject(err);
    this.#wake?.();
  }

  /** Sends a message; resolves when the caller may reuse its bytes. Throws the error that the call failed with. */
  async send({ data, ...rest }: WriteMessage): Promise<void> {
    const { stream } = await this.#call;
    const head = frameHead(
      toBinary(WriteContentRequestSchema, create(WriteContentRequestSchema, rest)),
      data && { field: dataField, length: data.byteLength },
    );
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

  /** The next answer; undefined at the end. Throws the error that the call failed with. */
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

  /** Says that no more messages come, and waits until containerd has unlocked the ingest. */
  async end(): Promise<void> {
    (await this.#call).stream.end();
    while ((await this.receive()) !== undefined);
  }
}
