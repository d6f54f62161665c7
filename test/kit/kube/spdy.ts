/**
 * Exec over SPDY/3.1, as buildx's client has it: https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/. That
 * client knows nothing of flow control, so there is none.
 */
import type { IncomingMessage } from 'node:http';
import { createRequire } from 'node:module';
import { Duplex } from 'node:stream';
import { constants, createInflate } from 'node:zlib';

const { 3.1: dictionary } = createRequire(import.meta.url)(
  'spdy-transport/lib/spdy-transport/protocol/spdy/dictionary',
) as Record<string, Buffer>;
const [synStream, synReply, reset, ping, goAway] = [1, 2, 3, 6, 7];
const fin = 1;

/** The streams of one exec, and the end of it. */
interface ExecStreams {
  stdin: Duplex;
  stdout: Duplex;
  stderr: Duplex;
  /** Says how the program has ended. */
  end(status: object): void;
}

class SpdyStream extends Duplex {
  readonly #send: (flags: number, bytes: Buffer) => void;

  constructor(send: (flags: number, bytes: Buffer) => void) {
    super();
    this.#send = send;
  }

  override _read(): void {}

  override _write(bytes: Buffer, _: BufferEncoding, done: () => void): void {
    this.#send(0, bytes);
    done();
  }

  override _final(done: () => void): void {
    this.#send(fin, Buffer.alloc(0));
    done();
  }
}

/** Answers an upgrade, and resolves once the client has opened all streams. */
export function acceptSpdy(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<ExecStreams> {
  const offered = [request.headers['x-stream-protocol-version'] ?? []].flat().join(', ').split(', ');
  const protocol = offered.find((each) => each === 'v4.channel.k8s.io');
  if (protocol === undefined) throw new Error(`no protocol of ${offered} is known`);
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\nX-Stream-Protocol-Version: ${protocol}\r\n\r\n`,
  );
  const control = (type: number, flags: number, body: Buffer) => {
    const header = Buffer.from([0x80, 3, 0, type, flags, 0, 0, 0]);
    header.writeUIntBE(body.length, 5, 3);
    if (!socket.destroyed) socket.write(Buffer.concat([header, body]));
  };
  const ids = new Map<number, SpdyStream>();
  const named = new Map<string, SpdyStream>();
  const inflate = createInflate({ dictionary, finishFlush: constants.Z_SYNC_FLUSH });
  let took: (bytes: Buffer) => void = () => {};
  inflate.on('data', (bytes: Buffer) => took(bytes));
  // The headers of an answer are none: four zero bytes, in a stored block, and the empty one of a flush, of one zlib stream with
  // that dictionary.
  let begin = Buffer.from('78f9e3c6a7c2', 'hex');
  const noHeaders = () => {
    const block = Buffer.concat([begin, Buffer.from('000400fbff00000000000000ffff', 'hex')]);
    begin = Buffer.alloc(0);
    return block;
  };

  return new Promise((resolve) => {
    const open = async (id: number, block: Buffer) => {
      const type = await new Promise<string>((done) => {
        took = (bytes) => done(streamType(bytes));
        inflate.write(block);
      });
      const stream = new SpdyStream((flags, bytes) => {
        const header = Buffer.alloc(8);
        header.writeUInt32BE(id);
        header.writeUInt32BE(bytes.length, 4);
        header[4] = flags;
        if (!socket.destroyed) socket.write(Buffer.concat([header, bytes]));
      });
      stream.on('error', () => {});
      ids.set(id, stream);
      named.set(type, stream);
      const reply = Buffer.alloc(4);
      reply.writeUInt32BE(id);
      control(synReply as number, 0, Buffer.concat([reply, noHeaders()]));
      const [stdin, stdout, stderr, error] = ['stdin', 'stdout', 'stderr', 'error'].map((each) =>
        named.get(each),
      );
      if (!stdin || !stdout || !stderr || !error) return;
      resolve({
        stdin,
        stdout,
        stderr,
        end(status) {
          error.end(JSON.stringify(status));
          stdout.end();
          stderr.end();
        },
      });
    };

    let held = head;
    // Frames are taken one after the other: a block of headers builds on those before it.
    let turn = Promise.resolve();
    const take = () => {
      for (;;) {
        if (held.length < 8) return;
        const length = held.readUIntBE(5, 3);
        if (held.length < 8 + length) return;
        const [first, flags] = [held.readUInt32BE(0), held[4] as number];
        const body = Buffer.from(held.subarray(8, 8 + length));
        held = held.subarray(8 + length);
        turn = turn.then(async () => {
          if ((first & 0x80000000) === 0) {
            const stream = ids.get(first);
            if (body.length > 0) stream?.push(body);
            if (flags & fin) stream?.push(null);
            return;
          }
          const type = first & 0xffff;
          if (type === synStream) {
            const id = body.readUInt32BE(0);
            await open(id, body.subarray(10));
            if (flags & fin) ids.get(id)?.push(null);
          } else if (type === reset) ids.get(body.readUInt32BE(0))?.destroy();
          else if (type === ping) control(ping, 0, body);
          else if (type === goAway) socket.end();
        });
      }
    };
    socket.on('data', (bytes: Buffer) => {
      held = Buffer.concat([held, bytes]);
      take();
    });
    take();
  });
}

/** The value of the header `streamtype` in a block. */
function streamType(block: Buffer): string {
  let at = 4;
  const text = () => {
    const length = block.readUInt32BE(at);
    at += 4 + length;
    return block.toString('utf8', at - length, at);
  };
  for (let left = block.readUInt32BE(0); left > 0; left--) {
    const [name, value] = [text(), text()];
    if (name.toLowerCase() === 'streamtype') return value;
  }
  return '';
}
