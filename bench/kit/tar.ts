/** Tar archives made on the fly. */
import { createCipheriv } from 'node:crypto';
import { open } from 'node:fs/promises';
import { endOfArchive, header, padding } from '../../src/tar/writer.ts';

const file = { type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n } as const;

/** A small archive of texts. */
export function textTar(files: Record<string, string | Buffer>): Buffer {
  const parts: Buffer[] = [];
  for (const [path, content] of Object.entries(files)) {
    const data = Buffer.from(content);
    parts.push(header({ ...file, path, size: data.length }), data, padding(data.length));
  }
  return Buffer.concat([...parts, endOfArchive]);
}

/** An archive of `count` files of `size` bytes without zeros or repetitions, `data/0` …, after a few texts. */
export async function* noiseTar(
  texts: Record<string, string>,
  { count, size }: { count: number; size: number },
): AsyncGenerator<Buffer> {
  const small = textTar(texts);
  yield small.subarray(0, small.length - endOfArchive.length);
  const noise = createCipheriv('aes-128-ctr', Buffer.alloc(16, 7), Buffer.alloc(16));
  const zeros = Buffer.alloc(256 << 10);
  for (let i = 0; i < count; i++) {
    yield header({ ...file, path: `data/${i}`, size });
    for (let left = size; left > 0; left -= zeros.length) {
      yield noise.update(left < zeros.length ? zeros.subarray(0, left) : zeros);
    }
    yield padding(size);
  }
  yield endOfArchive;
}

/** Writes a file of bytes without zeros or repetitions. */
export async function noiseFile(path: string, size: number): Promise<void> {
  const noise = createCipheriv('aes-128-ctr', Buffer.alloc(16, 7), Buffer.alloc(16));
  const zeros = Buffer.alloc(1 << 20);
  const file = await open(path, 'w');
  try {
    for (let left = size; left > 0; left -= zeros.length) {
      await file.write(noise.update(left < zeros.length ? zeros.subarray(0, left) : zeros));
    }
  } finally {
    await file.close();
  }
}
