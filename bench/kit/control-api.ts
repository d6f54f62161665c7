/** BuildKit's control API, over connections of our own. */
import { connect } from 'node:net';
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { Control } from '../../src/pb/moby/buildkit/v1/control_pb.js';
import type { Definition } from '../../src/pb/solver/pb/ops_pb.js';

interface Line {
  client: Client<typeof Control>;
  close(): void;
}

function open(socket: string): Line {
  const sessions = new Http2SessionManager(
    'http://localhost',
    {},
    { createConnection: () => connect(socket) },
  );
  const transport = createGrpcTransport({ baseUrl: 'http://localhost', sessionManager: sessions });
  return { client: createClient(Control, transport), close: () => sessions.abort() };
}

/**
 * Solves a definition while `count` clients, each on a connection of its own, follow it to its end. Gives how many
 * bytes of logs each of them was sent.
 */
export async function solveWatched(
  socket: string,
  definition: Definition,
  ref: string,
  count: number,
): Promise<number[]> {
  const lines = Array.from({ length: count + 1 }, () => open(socket));
  try {
    const [first, ...watchers] = lines as [Line, ...Line[]];
    const solved = first.client.solve({ Ref: ref, Definition: definition });
    const watched = watchers.map(async ({ client }) => {
      let bytes = 0;
      for await (const { logs } of client.status({ Ref: ref })) {
        for (const { msg } of logs) bytes += msg.length;
      }
      return bytes;
    });
    await solved;
    return await Promise.all(watched);
  } finally {
    for (const line of lines) line.close();
  }
}
