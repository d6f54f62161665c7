/** Worker task `source.unpack`: makes a folder of a posted stream. */
import { posix } from 'node:path';
import type { MessagePort } from 'node:worker_threads';
import { canceled, fail } from '../errors/index.ts';
import { decompress, detectCompression, type TarEntry, TarParser } from '../tar/index.ts';
import { receiveStream, type TaskContext } from '../workers/index.ts';
import { FolderUnpacker } from './unpack-folder.ts';

/** The largest stream, in bytes, that is taken for a bare Dockerfile. */
const maxDockerfile = 1024 * 1024;

/**
 * Unpacks a tar (plain or compressed) into the folder `dir`, which is empty, or with `keeps` may hold what an earlier one
 * has left. `stamp` then stands for its contents. A stream that is no archive is a bare Dockerfile,
 * and becomes the file `dockerfile` in the folder (default `Dockerfile`). Posts the number of bytes so far. Throws
 * `invalid` or `corrupt` (hop `context`).
 */
export async function unpack(
  args: { dir: string; port: MessagePort; dockerfile?: string; keeps?: boolean },
  ctx: TaskContext,
): Promise<{ entries: number; bytes: number; stamp?: string }> {
  const { stream, head } = await peek(receiveStream(args.port), 512);
  try {
    if (detectCompression(head) === 'none' && !isTarHeader(head)) {
      const text = await bareDockerfile(stream);
      const unpacker = new FolderUnpacker(args.dir, () => {}, args.keeps);
      unpacker.entry(fileEntry(posix.resolve('/', args.dockerfile ?? 'Dockerfile').slice(1), text.length));
      unpacker.data(text);
      unpacker.end();
      return { entries: 1, bytes: text.length, stamp: unpacker.finish() };
    }
    const goOn = () => {
      if (ctx.aborted()) throw canceled();
    };
    const unpacker = new FolderUnpacker(args.dir, goOn, args.keeps);
    const parser = new TarParser(unpacker, { hop: 'context' });
    let told = 0;
    let stamp: string | undefined;
    try {
      for await (const chunk of decompress(stream, { hop: 'context' })) {
        goOn();
        parser.push(chunk);
        if (unpacker.bytes - told > 4 << 20) {
          told = unpacker.bytes;
          ctx.post(told);
        }
      }
      parser.finish();
      stamp = unpacker.finish();
    } finally {
      unpacker.abort();
    }
    return { entries: unpacker.entries, bytes: unpacker.bytes, stamp };
  } finally {
    await stream.return?.(undefined);
  }
}

async function bareDockerfile(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    chunks.push(chunk);
    if (size > maxDockerfile) throw neither('it is no archive, and too large for a Dockerfile');
  }
  const text = Buffer.concat(chunks);
  if (text.length === 0) throw neither('it is empty');
  if (text.includes(0)) throw neither('it is neither a tar archive nor a Dockerfile');
  return text;
}

function fileEntry(path: string, size: number): TarEntry {
  const mtimeNs = BigInt(Date.now()) * 1_000_000n;
  const owner = { uid: 0, gid: 0, uname: '', gname: '' };
  const rest = { devmajor: 0, devminor: 0, xattrs: new Map() };
  return { path, type: 'file', mode: 0o644, size, mtimeNs, ...owner, ...rest };
}

function neither(why: string) {
  return fail('invalid', 'context', `the uploaded build context cannot be used: ${why}`, {
    hint: 'Send a tar archive (plain, gzip, bzip2, xz or zstd) or the text of a Dockerfile.',
  });
}

/** Whether 512 bytes are a tar header with a right checksum, or the zeros that end an empty archive. */
function isTarHeader(block: Uint8Array): boolean {
  if (block.length < 512) return false;
  const header = block.subarray(0, 512);
  if (header.every((byte) => byte === 0)) return true;
  const field = Buffer.from(header.subarray(148, 156))
    .toString('latin1')
    .replace(/[\0 ]+/g, ' ')
    .trim();
  if (!/^[0-7]+$/.test(field)) return false;
  let sum = 8 * 0x20;
  for (let i = 0; i < 512; i++) if (i < 148 || i >= 156) sum += header[i] as number;
  return Number.parseInt(field, 8) === sum;
}

/** The first bytes of a stream, and the whole of it. */
async function peek(
  source: AsyncGenerator<Uint8Array, void, undefined>,
  want: number,
): Promise<{ head: Uint8Array; stream: AsyncGenerator<Uint8Array, void, undefined> }> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  while (length < want) {
    const next = await source.next();
    if (next.done) break;
    chunks.push(next.value);
    length += next.value.length;
  }
  async function* whole(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield* chunks;
      yield* source;
    } finally {
      await source.return(undefined);
    }
  }
  return { head: Buffer.concat(chunks), stream: whole() };
}
