/** Explains a full disk: which disk it is, how much of it is free, and how to get room. */
import { statfs } from 'node:fs/promises';
import { DrydockError, errnoCode, type Hop, toDrydockError } from '../../errors/index.ts';
import type { Store } from '../store.ts';

/** A step that fails with less free space than this (bytes, files) most likely failed for lack of it. */
const scarce = { bytes: 4 << 20, files: 64 };

/** The folders where a store keeps its data. */
type Places = Pick<Store, 'root' | 'dataFolder'>;

/**
 * Turns any thrown value into a DrydockError. For an error that a full disk caused, it says which disk that is, how
 * much is free on it and how to get room. A step that failed by itself while the disk was full gets a hint about it and
 * the detail `diskFull`.
 */
export async function explainDisk(err: unknown, store: Places, hop?: Hop): Promise<DrydockError> {
  const error = toDrydockError(err, hop);
  const full = isFull(error);
  if (!full && error.exitCode === undefined) return error;
  // A result's destination may be anywhere; the client's own disk is not ours to look at.
  const elsewhere = error.hop === 'export' || error.hop === 'session';
  const path = error.details?.path;
  const places = elsewhere ? [typeof path === 'string' ? path : undefined] : [store.root, store.dataFolder];
  const rooms = await Promise.all(places.map((place) => (place === undefined ? undefined : roomOf(place))));
  const tight = rooms.filter((room) => room !== undefined).sort((a, b) => a.free - b.free)[0];
  if (tight === undefined) return error;
  const { place, free, size, files } = tight;
  const inodes = files !== undefined && files < scarce.files ? ` and for ${files} files` : '';
  const what = `${place} has room for ${bytes(free)} of ${bytes(size)}${inodes}`;
  if (full) {
    if (error.message.includes(`${place} has room for `)) return error;
    error.message = `${error.message} (${what})`;
    if (!elsewhere) error.hint = remedyAt(place, store);
  } else if (free < scarce.bytes || inodes !== '') {
    error.hint = `The disk is full: ${what}. ${remedyAt(place, store)}`;
    error.details = { ...error.details, diskFull: true };
  }
  return error;
}

function remedyAt(place: string, store: Places): string {
  const ours = 'Give it room: `drydock prune` (or `docker builder prune`), `drydock rmi`';
  if (place === store.dataFolder)
    return `${ours}, \`ctr content prune references\`, or a larger disk for containerd.`;
  return `${ours}, a larger disk, or another --root.`;
}

/** Whether an error, or one of its causes, says that there is no space left. */
export function isFull(error: unknown): boolean {
  let at: unknown = error;
  for (let depth = 0; at instanceof Error && depth < 8; depth++, at = at.cause) {
    const code = errnoCode(at);
    if (code === 'ENOSPC' || code === 'EDQUOT') return true;
    if (at instanceof DrydockError && at.code === 'exhausted' && /no space left/.test(at.message))
      return true;
  }
  return false;
}

interface Room {
  place: string;
  /** Bytes. */
  free: number;
  size: number;
  /** The number of files that can still be made; undefined where there is no limit. */
  files?: number;
}

async function roomOf(place: string): Promise<Room | undefined> {
  try {
    const { bavail, blocks, bsize, ffree, files } = await statfs(place);
    // Filesystems without a fixed number of files say 0 of 0.
    return { place, free: bavail * bsize, size: blocks * bsize, ...(files > 0 ? { files: ffree } : {}) };
  } catch {
    return undefined;
  }
}

function bytes(n: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = n;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
