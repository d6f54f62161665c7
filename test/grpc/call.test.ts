/** A call at its client, and what its server may answer. */
import { createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { duplexPair } from 'node:stream';
import { afterEach, expect, test } from 'vitest';
import { refuseCall, statusHeaders } from '../../src/grpc/answer.ts';
import { ConnectionLost } from '../../src/grpc/call.ts';
import { GrpcChannel } from '../../src/grpc/channel.ts';
import { frame } from '../../src/grpc/frame.ts';
import { GrpcServer } from '../../src/grpc/server.ts';
import { encodeMessage, GrpcError, statusIn, UNAVAILABLE, UNIMPLEMENTED } from '../../src/grpc/status.ts';

const channels: GrpcChannel[] = [];
afterEach(() => {
  for (const channel of channels.splice(0)) channel.close();
});

/** A channel to a server that answers with `answer`. */
function channelTo(answer: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void): GrpcChannel {
  const [ours, theirs] = duplexPair();
  const server = createServer();
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on('error', () => {});
    answer(stream, headers);
  });
  server.emit('connection', theirs);
  const channel = new GrpcChannel(ours);
  channels.push(channel);
  return channel;
}

/** Answers with some bytes and a status. */
const saying =
  (bytes: Uint8Array, status: object = { 'grpc-status': '0' }) =>
  (stream: ServerHttp2Stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.once('wantTrailers', () => stream.sendTrailers(status as Record<string, string>));
    stream.end(bytes);
  };

const ask = (channel: GrpcChannel, signal?: AbortSignal) =>
  channel.unary('/a.B/C', Buffer.from('?'), { signal });

test('one message there, one back, however large', async () => {
  for (const size of [0, 1, 70_000, 3 << 20]) {
    const answer = Buffer.alloc(size, 'x');
    expect(Buffer.from(await ask(channelTo(saying(frame(answer)))))).toEqual(answer);
  }
  // What a server says besides is dropped.
  const twice = Buffer.concat([frame(Buffer.from('a')), frame(Buffer.from('b'))]);
  expect(Buffer.from(await ask(channelTo(saying(twice)))).toString()).toBe('a');
});

test('a status other than OK is the call’s failure, with the server’s words, whatever was said before', async () => {
  const status = statusHeaders({ code: 5, message: 'größe: 100%\n"x"' });
  await expect(ask(channelTo(saying(Buffer.alloc(0), status)))).rejects.toEqual(
    new GrpcError(5, 'größe: 100%\n"x"'),
  );
  await expect(ask(channelTo(saying(frame(Buffer.from('a')), status)))).rejects.toMatchObject({ code: 5 });
  // Refused: all in one block of headers.
  await expect(ask(channelTo((stream) => refuseCall(stream, 7, 'no')))).rejects.toEqual(
    new GrpcError(7, 'no'),
  );
});

test('what is no answer of gRPC has a status all the same', async () => {
  const http = (code: number) => (stream: ServerHttp2Stream) => {
    stream.respond({ ':status': code });
    stream.end('x');
  };
  await expect(ask(channelTo(http(404)))).rejects.toMatchObject({ code: UNIMPLEMENTED });
  await expect(ask(channelTo(http(502)))).rejects.toMatchObject({
    code: UNAVAILABLE,
    message: 'HTTP status 502',
  });
  await expect(ask(channelTo(saying(Buffer.alloc(0))))).rejects.toThrow('the answer is empty');
  await expect(ask(channelTo(saying(Buffer.from([1, 0, 0, 0, 1, 0]))))).rejects.toThrow('compressed');
  await expect(ask(channelTo(saying(Buffer.from([0, 0x7f, 0, 0, 0]))))).rejects.toThrow('more than');
});

test('a call that is broken off, or taken along by its connection, says so', async () => {
  await expect(ask(channelTo((stream) => stream.close(8)))).rejects.toBeInstanceOf(ConnectionLost);
  await expect(ask(channelTo((stream) => stream.session?.destroy()))).rejects.toBeInstanceOf(ConnectionLost);
  const stop = new AbortController();
  const open = channelTo(() => stop.abort());
  await expect(ask(open, stop.signal)).rejects.toMatchObject({ code: 'canceled' });
});

test('statuses travel as text', () => {
  expect(statusIn({})).toBeUndefined();
  expect(statusIn({ 'grpc-status': '0' })).toEqual({ code: 0, message: '' });
  expect(statusIn({ 'grpc-status': 'soon', 'grpc-message': '%zz' })).toEqual({ code: 2, message: '%zz' });
  for (const message of ['', 'a b', 'naïve', '50%', 'line\nline', '☺']) {
    expect(encodeMessage(message)).toMatch(/^[\x20-\x7e]*$/);
    expect(statusIn({ 'grpc-status': '2', 'grpc-message': encodeMessage(message) })?.message).toBe(message);
  }
});

test('a message longer than headers may be has its middle left out', async () => {
  const long = `first ${'☺\n'.repeat(100_000)} last`;
  const middle = /^first .*\[…\].* last$/s;
  await expect(ask(channelTo((stream) => refuseCall(stream, 7, long)))).rejects.toThrow(middle);
  const [ours, theirs] = duplexPair();
  const fails = async () => Promise.reject(new GrpcError(2, long));
  new GrpcServer(new Map([['/a.B/C', fails]])).serve(theirs);
  const channel = new GrpcChannel(ours);
  channels.push(channel);
  await expect(ask(channel)).rejects.toThrow(middle);
});
