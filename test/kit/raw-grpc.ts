import { connect } from 'node:http2';
import { connect as dial } from 'node:net';

/** Calls a method of BuildKit's API with a message that is bytes already: its name in `moby.buildkit.v1`, and what it ended with. */
export function rawCall(socket: string, method: string, message: Uint8Array): Promise<string> {
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, 5);
  return new Promise((resolve, reject) => {
    const client = connect('http://localhost', { createConnection: () => dial(socket) });
    client.on('error', reject);
    const call = client.request({
      ':method': 'POST',
      ':path': `/moby.buildkit.v1.${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
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
    call.on('end', () => {
      client.close();
      resolve(said);
    });
    call.end(frame);
  });
}
