import { randomUUID } from 'node:crypto';
import { type ClientHttp2Session, connect } from 'node:http2';
import { connect as dial } from 'node:net';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { SolveRequestSchema } from '../../src/pb/moby/buildkit/v1/control_pb.js';

/** How a message is sent. `type`: of its content; `packed`: the bytes are compressed with this. */
interface How {
  type?: string;
  packed?: string;
}

/**
 * Calls a method of BuildKit's API with a message that is bytes already: its name in `moby.buildkit.v1`, or its whole
 * path. Gives what it ended with.
 */
export function rawCall(socket: string, method: string, message: Uint8Array, how: How = {}): Promise<string> {
  const client = connect('http://localhost', { createConnection: () => dial(socket) });
  const path = method.startsWith('/') ? method : `/moby.buildkit.v1.${method}`;
  return new Promise<string>((resolve, reject) => {
    client.on('error', reject);
    callOn(client, path, message, how).then(resolve, reject);
  }).finally(() => client.close());
}

/** The same on a connection that is there. */
export function callOn(
  client: ClientHttp2Session,
  path: string,
  message: Uint8Array,
  { type = 'application/grpc', packed }: How = {},
): Promise<string> {
  const frame = Buffer.alloc(5 + message.length);
  frame[0] = packed === undefined ? 0 : 1;
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, 5);
  return new Promise((resolve, reject) => {
    const call = client.request({
      ':method': 'POST',
      ':path': path,
      'content-type': type,
      te: 'trailers',
      ...(packed === undefined ? {} : { 'grpc-encoding': packed }),
    });
    let said = '';
    const take = (headers: Record<string, unknown>) => {
      if (headers['grpc-status'] === undefined) return;
      said = `${headers['grpc-status']} ${decodeURIComponent(String(headers['grpc-message'] ?? ''))}`;
    };
    call.on('response', take);
    call.on('trailers', take);
    call.on('error', reject);
    call.resume();
    call.on('end', () => resolve(said));
    call.end(frame);
  });
}

/** Solves a request by `Control/Solve`. */
export function solveRaw(
  socket: string,
  request: MessageInitShape<typeof SolveRequestSchema>,
): Promise<string> {
  const message = create(SolveRequestSchema, { Ref: randomUUID(), ...request });
  return rawCall(socket, 'Control/Solve', toBinary(SolveRequestSchema, message));
}
