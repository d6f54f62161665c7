/** Reads files and folders of trees as LLBBridge's file calls do. */
import { readSync } from 'node:fs';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { fail } from '../../errors/index.ts';
import {
  type FsEntry,
  type FsView,
  IgnoreMatcher,
  openEntry,
  resolvePath,
  statFollow,
} from '../../fs/index.ts';
import { closeFd, major, minor } from '../../linux/index.ts';
import { type Stat, StatSchema } from '../../pb/fsutil/wire_pb.js';
import { goMode } from '../../session/index.ts';

/** The largest answer, in bytes: a gRPC message of BuildKit's, less its framing. */
const maxRead = (16 << 20) - 1024;

/**
 * The bytes of a file, or a range of them. Throws `not-found`; throws `invalid` for anything but a regular file, and
 * for more bytes than a message holds.
 */
export function readFile(
  view: FsView,
  path: string,
  range: { offset: number; length: number } | undefined,
): Buffer {
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
    let at = 0;
    while (at < length) {
      const n = readSync(fd, buffer, at, length - at, offset + at);
      if (n === 0) break;
      at += n;
    }
    return buffer.subarray(0, at);
  } finally {
    closeFd(fd);
  }
}

/**
 * The entries of a folder, or those that the pattern matches. The work is for `inTurns`. Throws `not-found` and
 * `invalid`.
 */
export function* readDir(view: FsView, path: string, pattern: string): Generator<void, Stat[]> {
  const dir = resolvePath(view, path, { followLast: true });
  const entry = view.lstat(dir);
  if (entry === undefined) throw fail('not-found', 'file', `open ${path}: no such file or directory`);
  if (entry.type !== 'dir') throw fail('invalid', 'file', `${path} is not a folder`);
  const matcher = pattern === '' ? undefined : new IgnoreMatcher([pattern]);
  const stats: Stat[] = [];
  for (const each of yield* view.list(dir)) {
    yield;
    if (matcher === undefined || matcher.matches(each.name)) stats.push(statOf(view, each, each.name));
  }
  return stats;
}

/** The entry at a path. A symlink at the end of the path is described, not followed. Throws `not-found`. */
export function statFile(view: FsView, path: string): Stat {
  const entry = statFollow(view, path);
  if (entry === undefined) throw fail('not-found', 'file', `lstat ${path}: no such file or directory`);
  return statOf(view, entry, path.split('/').findLast((part) => part !== '' && part !== '.') ?? '');
}

function statOf(view: FsView, entry: FsEntry, path: string): Stat {
  const stat: MessageInitShape<typeof StatSchema> = {
    path,
    mode: goMode(entry.type, entry.mode),
    uid: entry.uid,
    gid: entry.gid,
    // As lstat has it: a symlink is as long as its target's name.
    size: BigInt(entry.type === 'symlink' ? Buffer.byteLength(entry.link ?? '') : entry.size),
    modTime: entry.mtimeNs,
    linkname: entry.link ?? '',
    xattrs: Object.fromEntries(view.xattrs(entry)),
  };
  if (entry.rdev !== undefined) {
    stat.devmajor = BigInt(major(entry.rdev));
    stat.devminor = BigInt(minor(entry.rdev));
  }
  return create(StatSchema, stat);
}
