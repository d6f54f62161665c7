/** Reads files of trees as LLBBridge's file calls do. */
import { fail } from '../../errors/index.ts';
import { type FsView, openEntry, statFollow, type ViewSpec, withLiveView } from '../../fs/index.ts';
import { closeFd, readAll } from '../../linux/index.ts';

/** A part of a file, in bytes. */
interface FileRange {
  offset: number;
  length: number;
}

/** The largest answer, in bytes: a gRPC message of BuildKit's, less its framing. */
const maxRead = (16 << 20) - 1024;

/**
 * The bytes of a file, or a range of them. Throws `not-found`; throws `invalid` for anything but a regular file, and
 * for more bytes than a message holds.
 */
export function readFile(view: FsView, path: string, range: FileRange | undefined): Buffer {
  const entry = statFollow(view, path);
  if (entry === undefined) throw fail('not-found', 'file', `open ${path}: no such file or directory`);
  if (entry.type !== 'file') throw fail('invalid', 'file', `${path} is not a regular file`);
  const offset = Math.max(0, range?.offset ?? 0);
  const length = Math.max(0, Math.min(range?.length ?? entry.size, entry.size - offset));
  if (length > maxRead) {
    throw fail('exhausted', 'file', `${path}: ${length} bytes are more than one answer holds`, {
      hint: `Read it in ranges of at most ${maxRead} bytes.`,
    });
  }
  const buffer = Buffer.allocUnsafe(length);
  const fd = openEntry(entry);
  try {
    return buffer.subarray(0, readAll(fd, buffer, offset));
  } finally {
    closeFd(fd);
  }
}

/** What of a running container is read. */
interface ContainerRead {
  spec: ViewSpec;
  path: string;
  range: FileRange | undefined;
}

/** The worker task `gateway.read`: reads a file of a running container, whose contents may have to come from elsewhere. */
export function readLiveFile({ spec, path, range }: ContainerRead): Buffer {
  return withLiveView(spec, (view) => readFile(view, path, range));
}
