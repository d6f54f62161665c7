/** The server's end of a WebSocket, as an API server has it for exec: the other half of src/kube/frames.ts. */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

/** A message of a client: its opcode and bytes. Fragments are joined. */
export interface Message {
  opcode: number;
  bytes: Buffer;
}

export interface ServerSocket {
  /** Sends one message; `pieces`: in how many frames. */
  send(bytes: Buffer, pieces?: number): void;
  ping(): void;
  close(): void;
  on(took: (message: Message) => void): void;
}

/** Answers an upgrade with one of the client's protocols. */
export function acceptWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  protocol: string,
): ServerSocket {
  const key = request.headers['sec-websocket-key'] as string;
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: ${protocol}\r\n\r\n`,
  );
  let took: (message: Message) => void = () => {};
  let held = head;
  socket.on('error', () => {});
  socket.on('data', (bytes: Buffer) => {
    held = Buffer.concat([held, bytes]);
    for (;;) {
      const found = clientMessage(held);
      if (found === undefined) return;
      held = held.subarray(found.size);
      if (found.opcode === 8) {
        // The answer to a close is a close.
        if (!socket.destroyed) socket.end(frame(8, Buffer.alloc(0), true));
      }
      took(found);
    }
  });
  return {
    send(bytes, pieces = 1) {
      const size = Math.ceil(bytes.length / pieces) || 1;
      for (let at = 0, first = true; at < bytes.length || first; at += size, first = false) {
        socket.write(frame(first ? 2 : 0, bytes.subarray(at, at + size), at + size >= bytes.length));
      }
    },
    ping: () => void socket.write(frame(9, Buffer.from('are you there?'), true)),
    close: () => void socket.end(frame(8, Buffer.from([0x03, 0xe8]), true)),
    on(each) {
      took = each;
    },
  };
}

function frame(opcode: number, bytes: Buffer, last: boolean): Buffer {
  const { length } = bytes;
  const first = (last ? 0x80 : 0) | opcode;
  if (length < 126) return Buffer.concat([Buffer.from([first, length]), bytes]);
  if (length < 65536) return Buffer.concat([Buffer.from([first, 126, length >> 8, length & 255]), bytes]);
  const head = Buffer.alloc(10);
  head[0] = first;
  head[1] = 127;
  head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, bytes]);
}

function clientMessage(bytes: Buffer): (Message & { size: number }) | undefined {
  if (bytes.length < 2) return undefined;
  const [one, two] = [bytes[0] as number, bytes[1] as number];
  if ((two & 0x80) === 0) throw new Error('a client has sent a frame without a mask');
  const short = two & 0x7f;
  const at = short === 126 ? 4 : short === 127 ? 10 : 2;
  if (bytes.length < at + 4) return undefined;
  const length =
    short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
  const size = at + 4 + length;
  if (bytes.length < size) return undefined;
  const mask = bytes.subarray(at, at + 4);
  const data = Buffer.from(bytes.subarray(at + 4, size));
  for (let i = 0; i < data.length; i++) data[i] = (data[i] as number) ^ (mask[i & 3] as number);
  return { opcode: one & 15, bytes: data, size };
}
