/** What one who was let in can have us hold of requests that do not end, over all of their calls and connections. */
import { type ClientHttp2Session, connect, constants, createServer, type Http2Server } from 'node:http2';
import { type AddressInfo, connect as dial } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { frame } from '../../src/grpc/frame.ts';
import { HeldBytes } from '../../src/grpc/held-bytes.ts';

const most = 1 << 20;
const part = Buffer.alloc(100_000, 'x');
let held: HeldBytes;
let server: Http2Server;
let sessions: ClientHttp2Session[];
/** What the calls' reader was given, piece by piece. */
let given: number[];
let ended: number;

beforeEach(async () => {
  held = new HeldBytes(most);
  const own: number[] = [];
  given = own;
  ended = 0;
  server = createServer((request) => {
    held.count(request.stream, String(request.headers.caller), request.url === '/one');
    request.stream.on('error', () => {});
    request.stream.on('data', (chunk: Buffer) => own.push(chunk.length));
    request.stream.on('end', () => ended++);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  sessions = [0, 1].map(() =>
    connect('http://localhost', { createConnection: () => dial(port, '127.0.0.1') }),
  );
});
afterEach(() => {
  for (const session of sessions) session.destroy();
  server.close();
});

/** A call; `code` is what it was broken off with. */
function call(path: string, caller: string, on = 0) {
  const stream = sessions[on]?.request({ ':method': 'POST', ':path': path, caller });
  if (stream === undefined) throw new Error('there are two');
  const closed = new Promise<number>((resolve) => stream.on('close', () => resolve(stream.rstCode)));
  stream.on('error', () => {});
  return { stream, closed };
}

/** Begins a message of 10 MB and sends 100 kB of it. */
function begin(path: string, caller: string, on = 0) {
  const one = call(path, caller, on);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(10_000_000, 1);
  one.stream.write(Buffer.concat([head, part]));
  return one;
}

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; !what() && i < 1000; i++) await sleep(10);
  expect(what()).toBe(true);
}

test.each(['/one', '/many'])(
  '%s: the call that goes beyond it is broken off, on whatever connection',
  async (path) => {
    for (let i = 0; i < 10; i++) begin(path, 'alice', i % 2);
    await until(() => held.of('alice') === 10 * 100_005);
    begin(path, 'bob');
    await until(() => held.of('bob') === 100_005);
    expect(await begin(path, 'alice').closed).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    // The others go on, and nothing has been handed to a reader that would put it together.
    expect(held.of('alice')).toBe(10 * 100_005);
    expect(given).toEqual([]);
  },
);

test('what is broken off is given back', async () => {
  const calls = Array.from({ length: 5 }, () => begin('/one', 'alice'));
  await until(() => held.of('alice') === 5 * 100_005);
  for (const { stream } of calls) stream.close(constants.NGHTTP2_CANCEL);
  await until(() => held.of('alice') === 0);
});

test('a message is handed on whole, and counts until then or until it is answered', async () => {
  // However they are cut on their way.
  const { stream } = call('/many', 'alice');
  const bytes = Buffer.concat(Array.from({ length: 30 }, () => frame(part)));
  for (let at = 0; at < bytes.length; at += 77_777) stream.write(bytes.subarray(at, at + 77_777));
  await until(() => given.reduce((a, b) => a + b, 0) === 30 * 100_005);
  expect(held.of('alice')).toBe(0);
  given.length = 0;
  const { stream: single } = call('/one', 'alice');
  single.end(frame(part));
  await until(() => ended === 1);
  expect(given).toEqual([100_005]);
  expect(held.of('alice')).toBe(100_005);
});

test('one that is longer than any may be is its reader’s to refuse, at once', async () => {
  const { stream } = call('/one', 'alice');
  const head = Buffer.alloc(5);
  head.writeUInt32BE(0x7fffffff, 1);
  stream.write(head);
  await until(() => given.length > 0);
  expect(given).toEqual([5]);
});
