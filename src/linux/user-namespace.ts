/**
 * User namespaces: whether this process is in one, and for whom. `bin/rootless` makes one for users who are not root.
 * What the kernel lets no user namespace do has its replacement here: overlayfs keeps its marks in other extended
 * attributes, and a device node of a layer is a file that stands for it.
 * https://man7.org/linux/man-pages/man7/user_namespaces.7.html
 */
import { readFileSync } from 'node:fs';

/** The number that stands for users and groups outside of a namespace: /proc/sys/kernel/overflowuid. */
const unknown = 65_534;

let maps: string | undefined;

/** The text of one of /proc/self's files of id mappings; '' where the kernel has no user namespaces. */
function mapOf(file: 'uid_map' | 'gid_map'): string {
  try {
    return readFileSync(`/proc/self/${file}`, 'latin1');
  } catch {
    return '';
  }
}

/**
 * The mappings of this process's users and groups, as `INSIDE:OUTSIDE:COUNT,…;INSIDE:…`. '' when every user is itself,
 * as outside of all user namespaces.
 */
export function ownIdMaps(): string {
  maps ??= idMaps(mapOf('uid_map'), mapOf('gid_map'));
  return maps;
}

/** `ownIdMaps` of the texts of uid_map and gid_map. Pure. */
function idMaps(uids: string, gids: string): string {
  const short = (text: string) =>
    text
      .trim()
      .split('\n')
      .map((line) => line.trim().replaceAll(/\s+/g, ':'))
      .join(',');
  const both = [short(uids), short(gids)];
  return both.every((map) => map === '' || map === '0:0:4294967295') ? '' : both.join(';');
}

/** Whether this process is in a user namespace whose users are others outside. */
export function inUserNamespace(): boolean {
  return ownIdMaps() !== '';
}

type Kind = 'user' | 'group';

/** The ranges of users or groups: first inside, first outside, how many. None: every one is itself. */
function rangesOf(kind: Kind, all: string): number[][] {
  const [users = '', groups = ''] = all.split(';');
  const map = kind === 'user' ? users : groups;
  return map === '' ? [] : map.split(',').map((range) => range.split(':').map(Number));
}

/**
 * The number that a user or group of this process's namespace has outside of it. The kernel shows all those whom the
 * namespace lacks as one (65534), which stays as it is.
 */
export function idOutside(kind: Kind, id: number, all = ownIdMaps()): number {
  for (const [inside = 0, outside = 0, count = 0] of rangesOf(kind, all)) {
    if (id >= inside && id < inside + count && id !== unknown) return outside + id - inside;
  }
  return id;
}

/** The number inside of a user or group outside; undefined when the namespace lacks it. */
export function idInside(kind: Kind, id: number, all = ownIdMaps()): number | undefined {
  const ranges = rangesOf(kind, all);
  if (ranges.length === 0) return id;
  for (const [inside = 0, outside = 0, count = 0] of ranges) {
    if (id >= outside && id < outside + count) return inside + id - outside;
  }
  return undefined;
}

/** Whether this process's namespace has a user or group of this number. */
export function hasId(kind: Kind, id: number, all = ownIdMaps()): boolean {
  const ranges = rangesOf(kind, all);
  return (
    ranges.length === 0 || ranges.some(([inside = 0, , count = 0]) => id >= inside && id < inside + count)
  );
}

/**
 * The user, by the numbers outside, for whom this process is root of a namespace; undefined when it is none that
 * `bin/rootless` made.
 */
export function rootlessUser(env: NodeJS.ProcessEnv = process.env): { uid: number; gid: number } | undefined {
  const [, uid, gid] = /^(\d+):(\d+)$/.exec(env.DRYDOCK_ROOTLESS ?? '') ?? [];
  return uid === undefined || !inUserNamespace() ? undefined : { uid: Number(uid), gid: Number(gid) };
}

/**
 * The beginning of the names of overlayfs's marks: `trusted.` is refused in a user namespace, where the mount option
 * `userxattr` makes it `user.`. https://docs.kernel.org/filesystems/overlayfs.html#user-xattr
 */
export function overlayXattr(mark: 'opaque' | 'redirect'): string {
  return `${inUserNamespace() ? 'user' : 'trusted'}.overlay.${mark}`;
}

/** The extended attribute of an empty file that stands for a device node in a layer: `c 1:3`. */
export const deviceXattr = 'user.drydock.device';
