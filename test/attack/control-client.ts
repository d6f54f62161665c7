/** A thread that calls BuildKit's Control service on a unix socket and counts what it is told: `workerData` is the socket. */
import { connect } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { Control } from '../../src/pb/moby/buildkit/v1/control_pb.js';

const transport = createGrpcTransport({
  baseUrl: 'http://localhost',
  nodeOptions: {
    createConnection: (() => connect(workerData as string)) as () => ReturnType<typeof connect>,
  },
});
const control = createClient(Control, transport);

const calls = {
  history: (filter: string[]) => count(control.listenBuildHistory({ EarlyExit: true, Filter: filter })),
  usage: async (filter: string[]) => (await control.diskUsage({ filter })).record.length,
  prune: (filter: string[]) => count(control.prune({ all: true, filter })),
  async status(Ref: string) {
    let vertices = 0;
    for await (const { vertexes } of control.status({ Ref })) vertices += vertexes.length;
    return vertices;
  },
};
export type ControlCalls = typeof calls;

async function count(messages: AsyncIterable<unknown>): Promise<number> {
  let found = 0;
  for await (const _ of messages) found++;
  return found;
}

parentPort?.on('message', ({ id, call, argument }) => {
  calls[call as keyof ControlCalls](argument as never).then(
    (value) => parentPort?.postMessage({ id, value }),
    (err) => parentPort?.postMessage({ id, error: String(err) }),
  );
});
