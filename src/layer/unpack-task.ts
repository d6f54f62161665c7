/** The worker task `layer.unpack`: writes a layer's tar, plain or compressed, into a layer folder in one pass. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { MessagePort } from 'node:worker_threads';
import { canceled, DrydockError, errnoCode, fail, toDrydockError, withoutPaths } from '../errors/index.ts';
import { openView, type ViewSpec } from '../fs/index.ts';
import type { Digest } from '../oci/index.ts';
import { decompress, TarParser } from '../tar/index.ts';
import { receiveStream, type TaskContext } from '../workers/index.ts';
import { LayerApplier } from './apply.ts';
import type { Lower } from './layer-paths.ts';

export interface UnpackArgs {
  /** The blob: a file, or a stream from another thread. */
  source: { path: string } | { port: MessagePort };
  /** The folder to write into: a layer's own folder (`overlay`), or one that already holds the tree below (`tree`). */
  dir: string;
  form: 'overlay' | 'tree';
  /** The tree below, in overlay form; `unknown` while it is still being made. */
  lower?: ViewSpec | 'unknown';
  /** False: devices are left out. */
  devices?: boolean;
}

export interface UnpackResult {
  /** Digest of the uncompressed tar. */
  diffId: Digest;
  /** Bytes of the uncompressed tar. */
  size: number;
  /** Bytes of file contents written. */
  contentSize: number;
  entries: number;
  /** Whether the archive describes the root folder itself. */
  hasRoot: boolean;
}

/** The bytes of the blob read so far; posted now and then. */
export interface UnpackProgress {
  read: number;
}

const progressStep = 4 << 20;

export async function unpack(args: UnpackArgs, ctx: TaskContext): Promise<UnpackResult> {
  const applier = new LayerApplier(args.dir, {
    form: args.form,
    lower: lowerOf(args.lower),
    devices: args.devices,
  });
  const parser = new TarParser(applier, { hop: 'store' });
  const hash = createHash('sha256');
  const blob =
    'path' in args.source
      ? createReadStream(args.source.path, { highWaterMark: 512 * 1024 })
      : receiveStream(args.source.port);
  try {
    for await (const chunk of decompress(counted(blob, ctx), { hop: 'store' })) {
      if (ctx.aborted()) throw canceled();
      hash.update(chunk);
      parser.push(chunk);
    }
    parser.finish();
    applier.finish();
  } catch (err) {
    throw unpackError(err);
  } finally {
    applier.abort();
  }
  return {
    diffId: `sha256:${hash.digest('hex')}`,
    size: parser.position,
    contentSize: applier.bytes,
    entries: applier.entries,
    hasRoot: applier.hasRoot,
  };
}

function lowerOf(lower: UnpackArgs['lower']): Lower {
  if (lower === undefined || lower === 'unknown') return lower;
  return lower.kind === 'empty' ? undefined : openView(lower);
}

/** An error of the system counts as the archive's fault when no system would accept the entry. */
export function unpackError(err: unknown): DrydockError {
  const code = errnoCode(err);
  if (err instanceof DrydockError || code === undefined) return toDrydockError(err, 'store');
  const { message } = err as Error;
  if (['ENAMETOOLONG', 'EINVAL', 'ELOOP', 'ENOTDIR', 'EISDIR', 'EEXIST'].includes(code)) {
    const cause = withoutPaths(err);
    return fail('corrupt', 'store', `the layer holds an entry that cannot be written: ${cause.message}`, {
      cause,
    });
  }
  if (code === 'EPERM' || code === 'EACCES') {
    return fail('denied', 'store', `unpacking the layer: ${message}`, {
      hint: 'Device nodes, owners and file capabilities need root.',
      cause: err,
    });
  }
  return toDrydockError(err, 'store');
}

async function* counted(source: AsyncIterable<Uint8Array>, ctx: TaskContext): AsyncGenerator<Uint8Array> {
  let read = 0;
  let said = 0;
  for await (const chunk of source) {
    if (ctx.aborted()) throw canceled();
    read += chunk.length;
    if (read - said >= progressStep) {
      said = read;
      ctx.post({ read } satisfies UnpackProgress);
    }
    yield chunk;
  }
}
