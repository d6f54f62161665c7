/**
 * Looks at the messages of gRPC calls before they are decoded. A message of many parts is taken out of its call and
 * decoded in turns, and the call's handler gets it in place of the empty one that the server decodes instead.
 */
import type { Http2ServerRequest } from 'node:http2';
import type { DescMessage, DescMethod, Message } from '@bufbuild/protobuf';
import { type ContextValues, createContextKey, type Interceptor } from '@connectrpc/connect';
import { fail } from '../../errors/index.ts';
import {
  bytesOfWeight,
  decodeInTurns,
  frame,
  GrpcError,
  type HeldBytes,
  type Looked,
  together,
  UNIMPLEMENTED,
  weightOf,
} from '../../grpc/index.ts';

/** A call's messages in order: undefined for each that the server decodes itself. */
type Apart = (Promise<Message> | undefined)[];

const calls = new WeakMap<object, Apart>();
const apartKey = createContextKey<Apart>([], { description: 'messages that were decoded apart' });

/** The length of a frame's head. */
const headLength = 5;

/**
 * Looks at the messages of a call before anything reads it. They are counted in `held`, with what they will take in
 * memory. Throws an error of gRPC when the call's messages are not plain protobuf.
 */
export function lookAt(
  request: Http2ServerRequest,
  method: DescMethod,
  held: HeldBytes,
  caller: string,
): void {
  const type = request.headers['content-type'];
  if (type !== 'application/grpc' && type !== 'application/grpc+proto')
    throw new GrpcError(UNIMPLEMENTED, 'only messages of protobuf are taken: application/grpc');
  const one = method.methodKind === 'unary' || method.methodKind === 'server_streaming';
  const apart: Apart = [];
  calls.set(request, apart);
  held.count(request.stream, caller, one, (frames) => take(frames, method.input, one, apart));
}

function take(frames: Buffer, schema: DescMessage, one: boolean, apart: Apart): Looked {
  const bytes: Buffer[] = [];
  let memory = 0;
  let at = 0;
  while (frames.length - at >= headLength) {
    const content = at + headLength;
    const end = content + frames.readUInt32BE(at + 1);
    // A compressed message, or one that is too long, is refused by its reader.
    if (frames[at] !== 0 || end > frames.length) break;
    const message = frames.subarray(content, end);
    const { weight, decoded } = look(message, schema, one);
    decoded?.catch(() => {}); // the call's handler gets the error
    memory += weight * bytesOfWeight;
    apart.push(decoded);
    bytes.push(decoded === undefined ? frames.subarray(at, end) : frame(Buffer.alloc(0)));
    at = end;
  }
  bytes.push(frames.subarray(at));
  return { bytes: Buffer.concat(bytes), memory };
}

function look(
  message: Buffer,
  schema: DescMessage,
  one: boolean,
): { weight: number; decoded?: Promise<Message> } {
  try {
    const weight = weightOf(schema, message);
    if (weight <= together) return { weight };
    // The messages of a stream are parts of a blob; none is large in any other way.
    if (!one) throw fail('invalid', 'host', 'a message of the stream has too many parts');
    return { weight, decoded: decodeInTurns(schema, message) };
  } catch (err) {
    return { weight: 0, decoded: Promise.reject(err) };
  }
}

/** The values of a call that `withMessages` reads. */
export function apartValues(request: object, values: ContextValues): ContextValues {
  return values.set(apartKey, calls.get(request) ?? []);
}

/** An interceptor that gives handlers the messages that were decoded apart. */
export function withMessages(): Interceptor {
  return (next) => async (request) => {
    const apart = request.contextValues.get(apartKey);
    if (!request.stream) {
      const message = (await apart.shift()) ?? request.message;
      return next({ ...request, message } as typeof request);
    }
    const { message: messages } = request;
    const message = (async function* () {
      for await (const message of messages) yield (await apart.shift()) ?? message;
    })();
    return next({ ...request, message } as typeof request);
  };
}
