/**
 * A frontend for tests, to be bundled and run by Node in a container: it builds a tree from a file `Recipe` in the
 * context, each line `PATH TEXT`. It speaks LLBBridge over stdin and stdout, as every frontend image does.
 */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { local, marshal, mkfile, scratch } from '../../../src/llb/llb.ts';
import { LLBBridge } from '../../../src/pb/moby/buildkit/v1/frontend/gateway_pb.js';

const options: Record<string, string> = {};
for (const [name, value = ''] of Object.entries(process.env)) {
  if (!name.startsWith('BUILDKIT_FRONTEND_OPT_')) continue;
  const at = value.indexOf('=');
  options[value.slice(0, at)] = value.slice(at + 1);
}

/** Node's HTTP/2 wants a socket of the kernel's: one end of this one is the pipes that a frontend is given. */
const path = '/frontend.sock';
const server = createServer((socket) => {
  process.stdin.pipe(socket);
  socket.pipe(process.stdout);
}).listen(path);
await once(server, 'listening');
const transport = createGrpcTransport({
  baseUrl: 'http://localhost',
  nodeOptions: { createConnection: () => connect(path) },
});
const client = createClient(LLBBridge, transport);

async function main(): Promise<void> {
  await client.ping({});
  if (options.target === 'crash') {
    console.error('out of flour');
    process.exit(3);
  }
  if (options.target === 'silent') process.exit(0);
  const { ref } = await client.solve({ Definition: marshal(local(options.contextkey ?? 'context')) });
  const recipe = await client.readFile({ Ref: ref, FilePath: options.filename ?? 'Recipe' }).catch((err) => {
    console.error(String(err));
    return undefined;
  });
  if (recipe === undefined) {
    await client.return({ error: { code: 5, message: 'there is no recipe' } });
    process.exit(0);
  }
  const lines = Buffer.from(recipe.Data).toString().trim().split('\n');
  const steps = lines
    .filter((line) => !line.startsWith('#'))
    .map((line) => {
      const at = line.indexOf(' ');
      return mkfile(line.slice(0, at), line.slice(at + 1));
    });
  const solved = await client.solve({
    Definition: marshal(scratch().file(steps)),
    allowResultReturn: true,
    allowResultArrayRef: true,
  });
  const config = {
    os: 'linux',
    architecture: 'amd64',
    config: { Labels: { options: JSON.stringify(options) } },
  };
  await client.return({
    result: {
      result: solved.result?.result,
      metadata: { 'containerimage.config': Buffer.from(JSON.stringify(config)) },
    },
  });
  process.exit(0);
}

await main();
