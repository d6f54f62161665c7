/**
 * A client's last list of a folder, byte for byte. It is kept beside the folder that was made of it. When the next list
 * is the same, the folder is the same, and neither needs to be looked at file by file. When it is another list, only
 * the files that it describes otherwise are looked at.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { lstatHost } from '../../fs/index.ts';
import { compareNames } from '../../linux/index.ts';
import { readPacket } from './packet-reader.ts';

/** The longest list that is kept, in bytes: some 500,000 files. */
const mostBytes = 40 << 20;
/** The memory of a list is taken in pieces of this size. */
const pieceSize = 256 << 10;

/** The byte for "not compressed" and the length of a message, before each. */
const headerLength = 5;

interface Header {
  version: 1;
  /** The boot of the machine: after a crash, files may have less than was written to them. */
  boot: string;
  /** Stands for this state of the folder, and for no other. */
  stamp: string;
  /** The number of files, folders and links in the list. */
  entries: number;
  /** Whether a file with bytes has a time that is a whole second. */
  wholeSeconds: boolean;
  /** The folders, relative to the top one, each with a text that changes when something in it is added or removed. */
  folders: [path: string, state: string][];
}

export interface Listing extends Pick<Header, 'stamp' | 'entries' | 'wholeSeconds'> {
  /** The client's messages in gRPC's framing, from the first to the one that ends the list. */
  bytes: Buffer;
}

/** The list that `dest` was made of; undefined when there is none, or the folder is not as it was left. */
export function readListing(file: string, dest: string): Listing | undefined {
  try {
    const all = readFileSync(file);
    const end = all.indexOf('\n');
    const header: Header = JSON.parse(all.toString('utf8', 0, end));
    if (header.version !== 1 || header.boot !== bootId()) return undefined;
    if (!header.folders.every(([path, state]) => stateOf(dest, path) === state)) return undefined;
    const { stamp, entries, wholeSeconds } = header;
    return { stamp, entries, wholeSeconds, bytes: all.subarray(end + 1) };
  } catch {
    return undefined; // the folder is looked at as if there never had been one
  }
}

/** A list that is gone through beside a new one, which is in the same order. */
export class ListedMessages {
  readonly #bytes: Buffer;
  /** The present message of the list. */
  #at = 0;
  #path: string | undefined;

  constructor({ bytes }: Listing) {
    this.#bytes = bytes;
  }

  /** Whether the list has this very message, which describes the file at `path`. It is asked in the order of the paths. */
  has(message: Uint8Array, path: string): boolean {
    while (this.#at < this.#bytes.length) {
      const start = this.#at + headerLength;
      const end = start + this.#bytes.readUInt32BE(this.#at + 1);
      const same =
        end - start === message.length && this.#bytes.compare(message, 0, message.length, start, end) === 0;
      if (!same) {
        this.#path ??= readPacket(this.#bytes.subarray(start, end)).stat?.path ?? '';
        const order = comparePaths(this.#path, path);
        if (order > 0) return false;
        this.#next(end);
        if (order === 0) return false;
      } else {
        this.#next(end);
        return true;
      }
    }
    return false;
  }

  #next(at: number): void {
    this.#at = at;
    this.#path = undefined;
  }
}

/** Compares paths in the order of lists: the files in a folder come right after it. */
function comparePaths(a: string, b: string): number {
  const [one, two] = [a.split('/'), b.split('/')];
  for (let i = 0; i < one.length && i < two.length; i++) {
    const order = compareNames(one[i] as string, two[i] as string);
    if (order !== 0) return order;
  }
  return one.length - two.length;
}

/** Removes a list. It is called before anything in the folder is changed. */
export function forgetListing(file: string): void {
  rmSync(file, { force: true });
}

/** Writes a list while it comes. */
export class ListingWriter {
  /** The list's bytes in gRPC's framing; undefined once they are too many. */
  #pieces: Buffer[] | undefined = [];
  /** The bytes in the last piece. */
  #filled = 0;
  #bytes = 0;

  /** The next message of the list. */
  add(message: Uint8Array): void {
    if (this.#pieces === undefined) return;
    const length = message.length + headerLength;
    this.#bytes += length;
    if (this.#bytes > mostBytes) {
      this.#pieces = undefined;
      return;
    }
    let last = this.#pieces.at(-1);
    if (last === undefined || last.length - this.#filled < length) {
      this.#trim();
      last = Buffer.allocUnsafeSlow(Math.max(pieceSize, length));
      this.#pieces.push(last);
      this.#filled = 0;
    }
    last[this.#filled] = 0;
    last.writeUInt32BE(message.length, this.#filled + 1);
    last.set(message, this.#filled + headerLength);
    this.#filled += length;
  }

  /** Cuts off what is not filled of the last piece. */
  #trim(): void {
    const last = this.#pieces?.pop();
    if (last !== undefined) this.#pieces?.push(last.subarray(0, this.#filled));
  }

  /**
   * Keeps the list of the files that `dest` holds now, and returns the stamp of that state; undefined when the list is
   * too long. `folders` are all folders, relative to `dest`.
   */
  save(
    file: string,
    dest: string,
    {
      entries,
      wholeSeconds,
      folders,
    }: Pick<Header, 'entries' | 'wholeSeconds'> & { folders: readonly string[] },
  ): string | undefined {
    if (this.#pieces === undefined) return undefined;
    this.#trim();
    const states = ['', ...folders].map((path): [string, string] => [path, stateOf(dest, path)]);
    const header: Header = {
      version: 1,
      boot: bootId(),
      stamp: randomUUID(),
      entries,
      wholeSeconds,
      folders: states,
    };
    const temp = `${file}.new`;
    try {
      writeFileSync(temp, Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), ...this.#pieces]));
      renameSync(temp, file);
      return header.stamp;
    } catch {
      // A full disk: the next list is compared with the folder, as ever.
      rmSync(temp, { force: true });
      return undefined;
    }
  }
}

let boot: string | undefined;

function bootId(): string {
  boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  return boot;
}

/** A text that changes when something is added to or removed from a folder, or when the folder is another one. */
function stateOf(dest: string, path: string): string {
  const stat = lstatHost(path === '' ? dest : `${dest}/${path}`);
  return stat === undefined ? 'gone' : `${stat.ino} ${stat.ctimeNs} ${stat.mtimeNs}`;
}
