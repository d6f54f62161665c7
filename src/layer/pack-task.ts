/** The worker task `layer.pack`: turns a layer's changes into a tar, compresses, hashes and writes it in one pass. */
import type { MessagePort } from 'node:worker_threads';
import { canceled, fail, toDrydockError } from '../errors/index.ts';
import { type FsEntry, hostXattrs, openEntry, openView, type ViewSpec } from '../fs/index.ts';
import { closeFd, major, minor, seekData, seekHole, unlinkSync } from '../linux/index.ts';
import { endOfArchive, header, padding, sparseMap, type TarHeader } from '../tar/index.ts';
import { PortSender, type TaskContext } from '../workers/index.ts';
import { type BlockSink, FileSink, type LayerWriter, type WrittenLayer } from './block-writer.ts';
import { layerWriter } from './layer-writer.ts';
import { type SinceList, walkSince } from './since.ts';
import { type Compression, isChunked } from './types.ts';
import { type LayerItem, walkDifference, walkOverlayLayer } from './walk.ts';

export interface PackArgs {
  /**
   * A layer folder in overlayfs's format with the tree below it, the difference of two whole trees, or what has changed
   * in a plain folder.
   */
  layer:
    | { kind: 'overlay'; dir: string; lower: ViewSpec }
    | { kind: 'difference'; lower: ViewSpec; upper: ViewSpec }
    | ({ kind: 'since' } & SinceList);
  compression: Compression;
  /** Later times are set to this one, ns since the epoch. */
  latestNs?: bigint;
  /** The folder that all paths are put into; '' or undefined: none. */
  prefix?: string;
  /** Whether to leave out the archive's end, since another archive follows. */
  open?: boolean;
  /** The destination of the blob: none (it is only hashed), a new file, or a port (see port-stream.ts). */
  sink: { kind: 'none' } | { kind: 'file'; path: string } | { kind: 'port'; port: MessagePort };
}

export interface PackResult extends WrittenLayer {
  entries: number;
  /** Whether the folder has whiteouts or opaque marks: their place in the tar depends on the tree below. */
  hides: boolean;
}

export async function pack(args: PackArgs, ctx: TaskContext): Promise<PackResult> {
  const { sink } = args;
  let file: FileSink | undefined;
  let sender: PortSender | undefined;
  let out: BlockSink | undefined;
  if (sink.kind === 'file') out = file = new FileSink(sink.path);
  if (sink.kind === 'port') {
    const to = new PortSender(sink.port);
    sender = to;
    // This sends a copy, whose memory goes to the other thread; the block itself is used again.
    out = { write: (data) => to.write(new Uint8Array(data)) };
  }
  const writer = layerWriter(args.compression, out);
  try {
    const found = { hides: false };
    const entries = await packItems(itemsOf(args, found), writer, args, ctx);
    const written = await writer.finish();
    sender?.end();
    file?.close();
    return { ...written, entries, hides: found.hides };
  } catch (err) {
    const error = toDrydockError(err, 'store');
    await writer.abort();
    sender?.fail(error);
    file?.close();
    if (sink.kind === 'file') unlinkSync(sink.path);
    throw error;
  }
}

function itemsOf({ layer }: PackArgs, found: { hides: boolean }): Generator<LayerItem> {
  if (layer.kind === 'overlay') return walkOverlayLayer(layer.dir, openView(layer.lower), found);
  if (layer.kind === 'since') return walkSince(layer);
  return walkDifference(openView(layer.lower), openView(layer.upper));
}

async function packItems(
  items: Iterable<LayerItem>,
  writer: LayerWriter,
  {
    latestNs,
    prefix = '',
    open = false,
    compression,
  }: Pick<PackArgs, 'latestNs' | 'prefix' | 'open' | 'compression'>,
  ctx: TaskContext,
): Promise<number> {
  const linked = new Map<string, string>();
  let entries = 0;
  const under = prefix === '' ? '' : `${prefix}/`;
  // Readers of single files do not know the form of sparse ones.
  const mayLeaveHoles = !isChunked(compression);
  if (under !== '') writer.put(header({ ...folder, path: prefix, mtimeNs: latestNs ?? 0n }));
  for (const item of items) {
    if (ctx.aborted()) throw canceled();
    if (item.kind !== 'entry') writer.put(header(whiteout(item)));
    else {
      const entry = tarHeader(item.entry, under, linked, latestNs);
      if (entry === undefined) continue;
      if (mayLeaveHoles && item.entry.size > worthHoles && entry.size > 0) {
        await putWithHoles(item.entry, entry, writer, ctx);
        entries++;
        continue;
      }
      writer.put(header(entry));
      if (entry.size > 0 && !putContent(item.entry, writer, entry.size)) {
        await putLarge(item.entry, writer, entry.size, ctx);
      }
    }
    entries++;
    if (writer.full) await writer.drain();
  }
  if (!open) writer.put(endOfArchive);
  return entries;
}

const folder = { type: 'dir', mode: 0o755, uid: 0, gid: 0, size: 0 } as const;

function whiteout(item: Exclude<LayerItem, { kind: 'entry' }>): TarHeader {
  const path = item.path.slice(1);
  const slash = path.lastIndexOf('/') + 1;
  return {
    path: item.kind === 'opaque' ? `${path}/.wh..wh..opq` : `${path.slice(0, slash)}.wh.${path.slice(slash)}`,
    type: 'file',
    mode: 0,
    uid: 0,
    gid: 0,
    size: 0,
    mtimeNs: 0n,
  };
}

/** The header of an entry; undefined for sockets, which layers do not have. Notes files that may be linked to again. */
function tarHeader(
  entry: FsEntry,
  under: string,
  linked: Map<string, string>,
  latestNs: bigint | undefined,
): TarHeader | undefined {
  const { type } = entry;
  if (type === 'socket') return undefined;
  const path = `${under}${entry.path.slice(1)}`;
  const out: TarHeader = {
    path,
    type,
    mode: entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    size: entry.size,
    mtimeNs: latestNs !== undefined && entry.mtimeNs > latestNs ? latestNs : entry.mtimeNs,
    link: entry.link,
  };
  if (type !== 'dir' && entry.nlink > 1) {
    const inode = `${entry.dev}:${entry.ino}`;
    const first = linked.get(inode);
    if (first !== undefined) {
      out.type = 'hardlink';
      out.link = first;
      out.size = 0;
    } else linked.set(inode, path);
  }
  if (type === 'char' || type === 'block') {
    out.devmajor = major(entry.rdev ?? 0n);
    out.devminor = minor(entry.rdev ?? 0n);
  }
  if (out.type !== 'hardlink') out.xattrs = hostXattrs(entry);
  return out;
}

const small = 256 * 1024;

/** Writes a small file's bytes without waiting; false when the file is not small. */
function putContent(entry: FsEntry, writer: LayerWriter, size: number): boolean {
  if (size > small) return false;
  const fd = openEntry(entry);
  try {
    for (let left = size; left > 0; ) {
      const n = writer.putFile(fd, left);
      if (n === 0) throw shrunk(entry);
      left -= n;
    }
  } finally {
    closeFd(fd);
  }
  writer.put(padding(size));
  return true;
}

async function putLarge(entry: FsEntry, writer: LayerWriter, size: number, ctx: TaskContext): Promise<void> {
  const fd = openEntry(entry);
  try {
    for (let left = size; left > 0; ) {
      const n = writer.putFile(fd, left);
      if (n === 0) throw shrunk(entry);
      left -= n;
      if (writer.full) await writer.drain();
      if (ctx.aborted()) throw canceled();
    }
  } finally {
    closeFd(fd);
  }
  writer.put(padding(size));
}

/** Holes are left out only of files with this many bytes of them. All other layers are written as other builders do. */
const worthHoles = 8 * 1024 ** 3;
/** The largest number of regions in a sparse map; readers limit its size. */
const maxRegions = 20_000;

/** Writes a huge file. If it is mostly holes, they are left out, in the form of GNU tar. */
async function putWithHoles(
  entry: FsEntry,
  head: TarHeader,
  writer: LayerWriter,
  ctx: TaskContext,
): Promise<void> {
  const fd = openEntry(entry);
  try {
    const regions = dataRegions(fd, entry.size);
    const stored = regions?.reduce((sum, { length }) => sum + length, 0) ?? entry.size;
    if (regions === undefined || entry.size - stored < worthHoles) {
      writer.put(header(head));
      await putLarge(entry, writer, head.size, ctx);
      return;
    }
    // GNU tar ends its maps so: it makes a file no longer than the last region.
    const map = sparseMap([...regions, { offset: entry.size, length: 0 }]);
    writer.put(header({ ...head, size: map.length + stored, realSize: entry.size }));
    writer.put(map);
    for (const { offset, length } of regions) {
      for (let at = 0; at < length; ) {
        const n = writer.putFile(fd, length - at, offset + at);
        if (n === 0) throw shrunk(entry);
        at += n;
        if (writer.full) await writer.drain();
        if (ctx.aborted()) throw canceled();
      }
    }
    writer.put(padding(stored));
  } finally {
    closeFd(fd);
  }
}

/** The regions of a file that have data; undefined when there are too many. */
function dataRegions(fd: number, size: number): { offset: number; length: number }[] | undefined {
  const regions: { offset: number; length: number }[] = [];
  for (let at = seekData(fd, 0); at >= 0 && at < size; at = seekData(fd, at)) {
    const end = Math.min(seekHole(fd, at), size);
    regions.push({ offset: at, length: end - at });
    if (regions.length > maxRegions) return undefined;
    at = end;
  }
  return regions;
}

function shrunk(entry: FsEntry): Error {
  return fail('corrupt', 'store', `the file ${entry.path} became shorter while its layer was written`);
}
