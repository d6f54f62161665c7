/**
 * Floods a daemon's socket, in a process of its own: `node flooder.ts SOCKET KIND`. Prints how many of its connections
 * the daemon has closed. It speaks HTTP/2 byte by byte, as no client would.
 */
import { connect, type Socket } from 'node:net';

const [, , path = '', kind = '', seconds = '1'] = process.argv;
const until = Date.now() + Number(seconds) * 1000;

const DATA = 0x0;
const HEADERS = 0x1;
const RST_STREAM = 0x3;
const SETTINGS = 0x4;
const PING = 0x6;
const CONTINUATION = 0x9;

function frame(type: number, flags: number, stream: number, body: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
}

/** A header that is not put into HPACK's table (RFC 7541, 6.2.2). */
function literal(name: string, value: string): Buffer {
  const text = (it: string) => {
    const bytes = Buffer.from(it);
    if (bytes.length < 127) return Buffer.concat([Buffer.of(bytes.length), bytes]);
    let rest = bytes.length - 127;
    const length = [127];
    for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128);
    return Buffer.concat([Buffer.of(...length, rest), bytes]);
  };
  return Buffer.concat([Buffer.of(0), text(name), text(value)]);
}

const call = (method: string) =>
  Buffer.concat([
    Buffer.of(0x83, 0x86),
    literal(':path', method),
    literal(':authority', 'localhost'),
    literal('content-type', 'application/grpc'),
    literal('te', 'trailers'),
  ]);
const status = call('/moby.buildkit.v1.Control/Status');
const reflect = call('/grpc.reflection.v1.ServerReflection/ServerReflectionInfo');
const begin = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(SETTINGS, 0, 0)]);
const acknowledged = frame(SETTINGS, 1, 0);

let closed = 0;

function open(onData: (chunk: Buffer) => void = () => {}): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connect(path, () => resolve(socket));
    socket.once('close', () => resolve(socket));
    socket.on('data', onData);
    socket.on('error', () => {});
    socket.on('close', () => closed++);
  });
}

/** Sends what `next` makes, as fast as it is taken, until time is up or the connection is closed. */
async function pour(socket: Socket, next: () => Buffer | undefined): Promise<void> {
  while (!socket.destroyed && Date.now() < until) {
    const chunk = next();
    if (chunk === undefined) break;
    if (!socket.write(chunk)) {
      await new Promise<void>((resolve) => {
        socket.once('drain', resolve);
        socket.once('close', () => resolve());
      });
    } else await new Promise((resolve) => setImmediate(resolve));
  }
}

const many = (count: number, make: () => Buffer) => Buffer.concat(Array.from({ length: count }, make));

/** By kind: what one connection does, and how many do it at once. */
const floods: Record<string, { connections: number; run(socket: Socket): Promise<void> }> = {
  // As many calls as are taken, each with as much of a message as its window lets through.
  streams: {
    connections: 4,
    async run(socket) {
      let stream = 1;
      socket.write(Buffer.concat([begin, acknowledged]));
      const size = Buffer.from([0, 0, 0, 0x0f, 0xff]);
      const head = () => {
        const own = stream;
        stream += 2;
        return Buffer.concat([frame(HEADERS, 4, own, reflect), frame(DATA, 0, own, size)]);
      };
      let calls = 0;
      await pour(socket, () => (calls++ < 120 ? head() : undefined));
      for (let own = 1; own < 241; own += 2) socket.write(frame(DATA, 0, own, Buffer.alloc(4000)));
    },
  },
  resets: {
    connections: 4,
    async run(socket) {
      let stream = 1;
      socket.write(Buffer.concat([begin, acknowledged]));
      const reset = Buffer.from([0, 0, 0, 8]);
      await pour(socket, () =>
        many(500, () => {
          const own = stream;
          stream += 2;
          return Buffer.concat([frame(HEADERS, 5, own, status), frame(RST_STREAM, 0, own, reset)]);
        }),
      );
    },
  },
  settings: {
    connections: 4,
    async run(socket) {
      socket.write(Buffer.concat([begin, acknowledged]));
      await pour(socket, () => many(500, () => frame(SETTINGS, 0, 0, Buffer.from([0, 4, 0, 1, 0, 0]))));
    },
  },
  pings: {
    connections: 4,
    async run(socket) {
      socket.write(Buffer.concat([begin, acknowledged]));
      await pour(socket, () => many(500, () => frame(PING, 0, 0, Buffer.alloc(8))));
    },
  },
  headers: {
    connections: 4,
    async run(socket) {
      let stream = 1;
      socket.write(Buffer.concat([begin, acknowledged]));
      const block = Buffer.concat([
        status,
        ...Array.from({ length: 60 }, () => literal('x', 'y'.repeat(16_000))),
      ]);
      await pour(socket, () => {
        const own = stream;
        stream += 2;
        const parts = [frame(HEADERS, 1, own, block.subarray(0, 16_384))];
        for (let at = 16_384; at < block.length; at += 16_384) {
          const last = at + 16_384 >= block.length;
          parts.push(frame(CONTINUATION, last ? 4 : 0, own, block.subarray(at, at + 16_384)));
        }
        return Buffer.concat(parts);
      });
    },
  },
  continuations: {
    connections: 4,
    async run(socket) {
      socket.write(Buffer.concat([begin, acknowledged, frame(HEADERS, 1, 1, status)]));
      await pour(socket, () => many(500, () => frame(CONTINUATION, 0, 1)));
    },
  },
  // Connections that say nothing, or never finish what they say.
  silence: { connections: 800, run: async () => {} },
  loris: {
    connections: 800,
    async run(socket) {
      socket.write('POST /build HTTP/1.1\r\nHost: x\r\nX-Slow: ');
    },
  },
  half: {
    connections: 800,
    async run(socket) {
      socket.write(Buffer.concat([begin, acknowledged, frame(HEADERS, 1, 1, status.subarray(0, 4))]));
    },
  },
};

const flood = floods[kind];
if (flood === undefined) throw new Error(`no such flood: ${kind}`);
const running: Promise<void>[] = [];
for (let i = 0; i < flood.connections; i++) running.push(flood.run(await open()));
await Promise.all(running);
// Those that are cut off have flooded enough.
while (closed < flood.connections && Date.now() < until) {
  await new Promise((resolve) => setTimeout(resolve, 20));
}
process.stdout.write(`${JSON.stringify({ closed, of: flood.connections })}\n`);
process.exit(0);
