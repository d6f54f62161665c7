/** Decompresses streams: gzip and zstd in this process, bzip2 and xz by their programs. */
import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { type Duplex, Readable, type Writable } from 'node:stream';
import zlib from 'node:zlib';
import { DrydockError, errnoCode, fail, type Hop } from '../errors/index.ts';

export type StreamCompression = 'none' | 'gzip' | 'zstd' | 'bzip2' | 'xz';

/** The number of bytes that `detectCompression` needs; a shorter stream may have fewer. */
export const detectBytes = 6;

/** The compression of a stream, by its first bytes. */
export function detectCompression(head: Uint8Array): StreamCompression {
  const [a, b, c, d, e, f] = head;
  if (a === 0x1f && b === 0x8b) return 'gzip';
  if (a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd) return 'zstd';
  // A zstd stream may begin with a skippable frame.
  if (a !== undefined && (a & 0xf0) === 0x50 && b === 0x2a && c === 0x4d && d === 0x18) return 'zstd';
  if (a === 0x42 && b === 0x5a && c === 0x68 && d !== undefined && d >= 0x31 && d <= 0x39) return 'bzip2';
  if (a === 0xfd && b === 0x37 && c === 0x7a && d === 0x58 && e === 0x5a && f === 0) return 'xz';
  return 'none';
}

const outChunk = 256 * 1024;

/**
 * The plain bytes of a stream with any compression. Ending the iteration early ends the source too. Throws `corrupt`
 * for damaged or cut data, `unsupported` when bzip2 or xz is needed and not installed; the source's own errors pass
 * unchanged.
 */
export async function* decompress(
  source: AsyncIterable<Uint8Array>,
  options: { hop?: Hop } = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const hop = options.hop ?? 'context';
  const input = source[Symbol.asyncIterator]();
  const head: Uint8Array[] = [];
  let length = 0;
  try {
    while (length < detectBytes) {
      const next = await input.next();
      if (next.done) break;
      if (next.value.length === 0) continue;
      head.push(next.value);
      length += next.value.length;
    }
    const kind = detectCompression(head.length === 1 ? head[0]! : Buffer.concat(head));
    const whole = rejoin(head, input);
    if (kind === 'none') yield* whole;
    else if (kind === 'gzip')
      yield* through(both(zlib.createGunzip({ chunkSize: outChunk })), whole, kind, hop);
    else if (kind === 'zstd')
      yield* through(both(zlib.createZstdDecompress({ chunkSize: outChunk })), whole, kind, hop);
    else yield* program(kind, whole, hop);
  } finally {
    await input.return?.();
  }
}

/** The plain bytes of a file with any compression. Throws as `decompress` does. */
export function decompressFile(
  path: string,
  options: { hop?: Hop } = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  return decompress(createReadStream(path, { highWaterMark: 512 * 1024 }), options);
}

async function* rejoin(head: Uint8Array[], rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* head;
  for (;;) {
    const next = await rest.next();
    if (next.done) return;
    yield next.value;
  }
}

function both(stream: Duplex): { sink: Writable; out: Readable } {
  return { sink: stream, out: stream };
}

/** Runs the source through a stream. `failure` may explain better than the stream's own error why it broke. */
async function* through(
  stream: { sink: Writable; out: Readable },
  source: AsyncIterable<Uint8Array>,
  kind: StreamCompression,
  hop: Hop,
  failure?: (err: unknown) => Promise<Error | undefined>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const sourceError: { err?: unknown } = {};
  const input = Readable.from(source, { objectMode: true, highWaterMark: 1 });
  input.once('error', (err) => {
    sourceError.err = err;
    stream.out.destroy(err);
  });
  input.pipe(stream.sink);
  try {
    for await (const chunk of stream.out) yield chunk as Uint8Array;
    const err = await failure?.(undefined);
    if (err !== undefined) throw err;
  } catch (err) {
    if (sourceError.err !== undefined) throw sourceError.err;
    if (err instanceof DrydockError) throw err;
    throw (await failure?.(err)) ?? damaged(kind, hop, err);
  } finally {
    input.destroy();
    stream.sink.destroy();
    stream.out.destroy();
  }
}

function damaged(kind: StreamCompression, hop: Hop, cause: unknown): DrydockError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return fail('corrupt', hop, `the ${kind} data is damaged or cut short: ${why}`, {
    hint: 'Make or fetch it again.',
    cause,
  });
}

const packages = { bzip2: 'bzip2', xz: 'xz-utils' } as const;

async function* program(
  kind: 'bzip2' | 'xz',
  source: AsyncIterable<Uint8Array>,
  hop: Hop,
): AsyncGenerator<Uint8Array, void, undefined> {
  const args = kind === 'xz' ? ['-dc', '--memlimit-decompress=1GiB'] : ['-dc'];
  const child = spawn(kind, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    if (said.length < 4096) said += chunk.toString();
  });
  const ended = new Promise<Error | undefined>((resolve) => {
    child.once('error', (err) =>
      resolve(
        errnoCode(err) === 'ENOENT'
          ? fail(
              'unsupported',
              hop,
              `the archive is compressed with ${kind}, and the program ${kind} is missing`,
              {
                hint: `Install it: apt-get install ${packages[kind]}`,
                cause: err,
              },
            )
          : fail('internal', hop, `starting ${kind} failed: ${err.message}`, { cause: err }),
      ),
    );
    child.once('close', (code, signal) =>
      resolve(
        code === 0 ? undefined : damaged(kind, hop, said.trim() || `${kind} ended with ${code ?? signal}`),
      ),
    );
  });
  child.stdin.on('error', () => {}); // EPIPE: the program's own end says why
  try {
    yield* through({ sink: child.stdin, out: child.stdout }, source, kind, hop, () => ended);
  } finally {
    child.kill('SIGKILL');
  }
}
