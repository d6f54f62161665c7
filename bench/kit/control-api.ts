/** BuildKit's control API, over connections of our own that cost the clients' side little. */
import { once } from 'node:events';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Deframer, frame } from '../../src/grpc/frame.ts';
import { SolveRequestSchema, StatusRequestSchema } from '../../src/pb/moby/buildkit/v1/control_pb.js';
import { StatusResponseSchema } from '../../src/pb/moby/buildkit/v1/status_pb.js';
import type { Definition } from '../../src/pb/solver/pb/ops_pb.js';

async function open(socket: string): Promise<ClientHttp2Session> {
  const session = connectHttp2('http://localhost', {
    createConnection: () => connect(socket),
    settings: { initialWindowSize: 8 << 20, enablePush: false },
  });
  session.on('error', () => {}); // its calls tell
  await once(session, 'remoteSettings');
  session.setLocalWindowSize(8 << 20);
  return session;
}

/** One call with one request. Gives all bytes of the answer; rejects when the call fails. */
function call(session: ClientHttp2Session, method: string, request: Uint8Array): Promise<Buffer[]> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let failure = '';
    const stream = session.request({
      ':method': 'POST',
      ':path': `/moby.buildkit.v1.Control/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const look = (headers: Record<string, unknown>) => {
      const status = headers['grpc-status'];
      if (status !== undefined && status !== '0') failure = `${method}: ${String(headers['grpc-message'])}`;
    };
    stream.on('response', look);
    stream.on('trailers', look);
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.once('error', reject);
    stream.once('end', () => (failure === '' ? resolve(chunks) : reject(new Error(failure))));
    stream.end(frame(request));
  });
}

/** How many bytes of logs a Status call was sent. */
function loggedIn(chunks: readonly Buffer[]): number {
  let bytes = 0;
  for (const message of new Deframer().push(Buffer.concat(chunks))) {
    for (const { msg } of fromBinary(StatusResponseSchema, message).logs) bytes += msg.length;
  }
  return bytes;
}

/**
 * Solves a definition while `count` clients, each on a connection of its own that was open before, follow it to its
 * end. `timed` measures the calls. Gives how many bytes of logs each client was sent, which is counted afterwards.
 */
export async function solveWatched<T>(
  socket: string,
  definition: Definition,
  { ref, count, timed }: { ref: string; count: number; timed: (work: () => Promise<void>) => Promise<T> },
): Promise<{ measured: T; logged: number[] }> {
  const sessions = await Promise.all(Array.from({ length: count + 1 }, () => open(socket)));
  try {
    const [first, ...watchers] = sessions as [ClientHttp2Session, ...ClientHttp2Session[]];
    const status = toBinary(StatusRequestSchema, create(StatusRequestSchema, { Ref: ref }));
    const solve = toBinary(
      SolveRequestSchema,
      create(SolveRequestSchema, { Ref: ref, Definition: definition }),
    );
    let answers: Buffer[][] = [];
    const measured = await timed(async () => {
      const watched = watchers.map((session) => call(session, 'Status', status));
      await call(first, 'Solve', solve);
      answers = await Promise.all(watched);
    });
    return { measured, logged: answers.map(loggedIn) };
  } finally {
    for (const session of sessions) session.destroy();
  }
}
