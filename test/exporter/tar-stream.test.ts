/** What a writer of a tar hears of a stream that breaks (src/exporter/tar-stream.ts). */
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { fail } from '../../src/errors/error.ts';
import { SinkWriter } from '../../src/exporter/tar-stream.ts';

const never = new AbortController().signal;
const told = fail('unsupported', 'session', 'the client takes no files');

/** A stream that breaks with `told`; its 'error' is heard of by one who is not the writer. */
function breaking(): PassThrough {
  const output = new PassThrough();
  output.on('error', () => {});
  output.resume();
  return output;
}

test('the reason is told in the same turn in which the stream breaks', async () => {
  const output = breaking();
  const writer = new SinkWriter(output, never);
  output.destroy(told);
  await expect(writer.write(Buffer.from('x'))).rejects.toBe(told);
  await expect(writer.end()).rejects.toBe(told);
});

test('the reason is told of a stream that broke before the writer had it', async () => {
  const output = breaking();
  output.destroy(told);
  await new Promise(setImmediate);
  const writer = new SinkWriter(output, never);
  await expect(writer.write(Buffer.from('x'))).rejects.toBe(told);
});

test('a stream that was closed without a reason has gone away', async () => {
  const output = breaking();
  const writer = new SinkWriter(output, never);
  output.destroy();
  await expect(writer.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'unavailable', hop: 'export' });
});
