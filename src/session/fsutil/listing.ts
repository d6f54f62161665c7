/**
 * A client's last list of a folder, byte for byte. It is kept beside the folder that was made of it. When the next list
 * is the same, the folder is the same, and neither needs to be looked at file by file. When it is another list, only
 * the files that it describes otherwise are looked at.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { lstatHost } from '../../fs/index.ts';
import { Deframer, frame } from '../../grpc/index.ts';

/** The longest list that is kept, in bytes: some 100,000 files. */
const mostBytes = 8 << 20;

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

/** The set of messages in a list. */
export class ListedMessages {
  readonly #texts: ReadonlySet<string>;

  constructor({ bytes }: Listing) {
    this.#texts = new Set(new Deframer().push(bytes).map(textOf));
  }

  has(message: Uint8Array): boolean {
    return this.#texts.has(textOf(message));
  }
}

function textOf(message: Uint8Array): string {
  return Buffer.from(message.buffer, message.byteOffset, message.length).toString('latin1');
}

/** Removes a list. It is called before anything in the folder is changed. */
export function forgetListing(file: string): void {
  rmSync(file, { force: true });
}

/** Writes a list while it comes. */
export class ListingWriter {
  #frames: Buffer[] | undefined = [];
  #bytes = 0;

  /** The next message of the list. */
  add(message: Uint8Array): void {
    if (this.#frames === undefined) return;
    this.#bytes += message.length + 5;
    if (this.#bytes > mostBytes) this.#frames = undefined;
    else this.#frames.push(frame(message));
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
    if (this.#frames === undefined) return undefined;
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
      writeFileSync(temp, Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), ...this.#frames]));
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
