/**
 * Lists of the files that a content digest covers, kept small: paths by what they differ in from the one before, and of
 * contents a short print. 100,000 files take some 1 MB. Pure.
 */
import { hash } from 'node:crypto';
import type { FileType, FsEntry } from './view.ts';

/** One file of a list. */
export interface ListedFile {
  type: FileType;
  /** Permission bits. */
  mode: number;
  uid: number;
  gid: number;
  /** Stands for the bytes and extended attributes of a file, the target of a link, the number of a device. */
  print: string;
}

/**
 * Paths in a list are what the digest covers too, so that each digest has one list: the number of the selection, a colon,
 * and the path below what it selects (empty: that itself).
 *
 * How many characters of the path are the one's before, the rest, type and mode and owner unless as before, print.
 */
type Row = [common: number, rest: string, attributes: string, print: string];

const rowsInFrame = 4096;
/** Of larger trees no list is kept. */
const maxRows = 500_000;
/** Hex digits of a print. */
const printDigits = 12;

/** Writes a list, which is held in its compressed form while it grows. */
export class ListWriter {
  readonly #frames: Buffer[] = [];
  #rows: Row[] = [];
  #count = 0;
  #path = '';
  #attributes = '';

  /** Adds a file. `contents`: what the digest covers of it beside its name, type, mode and owner. */
  add(path: string, { type, uid, gid }: FsEntry, mode: number, contents: string): void {
    if (++this.#count > maxRows) {
      this.#rows = [];
      this.#frames.length = 0;
      return;
    }
    const common = commonLength(this.#path, path);
    const attributes = `${type} ${mode.toString(8)} ${uid} ${gid}`;
    const shown = attributes === this.#attributes ? '' : attributes;
    this.#rows.push([common, path.slice(common), shown, printOf(contents)]);
    this.#path = path;
    this.#attributes = attributes;
    if (this.#rows.length === rowsInFrame) this.#flush();
  }

  /** The list; undefined when there are too many files for one. */
  finish(): Buffer | undefined {
    if (this.#count > maxRows) return undefined;
    this.#flush();
    return Buffer.concat(this.#frames);
  }

  #flush(): void {
    if (this.#rows.length === 0) return;
    const frame = zlib().zstdCompressSync(JSON.stringify(this.#rows));
    const size = Buffer.alloc(4);
    size.writeUInt32LE(frame.length);
    this.#frames.push(size, frame);
    this.#rows = [];
  }
}

/** The files of a list by path, in the order in which they were added. */
export function readList(list: Uint8Array): Map<string, ListedFile> {
  const bytes = Buffer.from(list.buffer, list.byteOffset, list.length);
  const files = new Map<string, ListedFile>();
  let path = '';
  let attributes = '';
  for (let at = 0; at < bytes.length; ) {
    const size = bytes.readUInt32LE(at);
    const rows = JSON.parse(
      zlib()
        .zstdDecompressSync(bytes.subarray(at + 4, at + 4 + size))
        .toString('utf8'),
    ) as Row[];
    at += 4 + size;
    for (const [common, rest, shown, print] of rows) {
      path = path.slice(0, common) + rest;
      if (shown !== '') attributes = shown;
      const [type, mode = '', uid, gid] = attributes.split(' ');
      files.set(path, {
        type: type as FileType,
        mode: Number.parseInt(mode, 8),
        uid: Number(uid),
        gid: Number(gid),
        print,
      });
    }
  }
  return files;
}

/** Loaded for the first list: threads that digest trees mostly write none. */
function zlib() {
  return process.getBuiltinModule('node:zlib');
}

/** Of a plain file the digest is itself print enough. */
function printOf(contents: string): string {
  if (contents === '') return '';
  const hex = /^[0-9a-f]{64}$/.test(contents) ? contents : hash('sha256', contents, 'hex');
  return hex.slice(0, printDigits);
}

function commonLength(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  let n = 0;
  while (n < most && a.charCodeAt(n) === b.charCodeAt(n)) n++;
  return n;
}
