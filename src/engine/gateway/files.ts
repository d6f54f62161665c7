/** Reads folders and attributes of trees as LLBBridge's file calls do. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { fail } from '../../errors/index.ts';
import { type FsEntry, type FsView, IgnoreMatcher, resolvePath, statFollow } from '../../fs/index.ts';
import { major, minor } from '../../linux/index.ts';
import { type Stat, StatSchema } from '../../pb/fsutil/wire_pb.js';
import { goMode } from '../../session/index.ts';

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
