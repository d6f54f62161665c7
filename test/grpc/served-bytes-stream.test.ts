/** How long the bytes of a connection within a call wait for more. */
import { EventEmitter } from 'node:events';
import type { Http2ServerResponse, ServerHttp2Stream } from 'node:http2';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { bytesFrame } from '../../src/grpc/frame.ts';
import { ServedBytesStream } from '../../src/grpc/served-bytes-stream.ts';

const frame = (type: number, payload: Buffer): Buffer => {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head.writeUInt32BE(1, 5);
  return Buffer.concat([head, payload]);
};
const data = frame(0, Buffer.from('a description of a file'));
const windowUpdate = frame(8, Buffer.from([0, 1, 0, 0]));

/** A stream in a call whose client says something, and what the stream has passed on. */
function served(): { say(bytes: Buffer): void; passed: Buffer[]; stream: ServedBytesStream } {
  const call = Object.assign(new EventEmitter(), {
    destroyed: false,
    closed: false,
    pause() {},
    resume() {},
  });
  const response = { writableEnded: true, writeHead() {} };
  const stream = new ServedBytesStream(
    call as unknown as ServerHttp2Stream,
    response as unknown as Http2ServerResponse,
  );
  const passed: Buffer[] = [];
  stream.on('data', (bytes: Buffer) => passed.push(Buffer.from(bytes)));
  stream.begin();
  return { say: (bytes) => call.emit('data', bytesFrame(bytes)), passed, stream };
}

test('data that comes thick and fast goes together; a window update takes along what is there, at once', async () => {
  // What waits for the clock waits for ever.
  vi.useFakeTimers({ toFake: ['setTimeout', 'performance'] });
  try {
    const { say, passed, stream } = served();
    await turn();
    for (let i = 0; i < 20; i++) {
      say(data);
      await turn();
      await turn();
    }
    const before = passed.length;
    expect(before).toBeLessThan(15);
    say(windowUpdate);
    await turn();
    await turn();
    expect(passed.length).toBe(before + 1);
    expect(passed.at(-1)?.subarray(-windowUpdate.length)).toEqual(windowUpdate);
    say(data);
    await turn();
    await turn();
    expect(passed.length).toBe(before + 1);
    stream.destroy();
  } finally {
    vi.useRealTimers();
  }
});
