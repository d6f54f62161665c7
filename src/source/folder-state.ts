/**
 * What is in a folder that an archive was unpacked into, kept beside it until the next archive of the same client comes.
 * What the next one has as it was is then left alone.
 */
import { createHash, randomUUID } from 'node:crypto';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { lstatHost, type SentContents, writeContents } from '../fs/index.ts';
import { nameOf, rawName } from '../linux/index.ts';

/** The longest state that is kept, in bytes: some 100,000 files. */
const mostBytes = 16 << 20;

interface Header {
  version: 1;
  /** The boot of the machine: after a crash, files may have less than was written to them. */
  boot: string;
  /** Stands for these contents of the folder, and for no others. */
  stamp: string;
  /** The folders, relative to the top one, each with a text that changes when something in it is added or removed. */
  folders: [path: string, state: string][];
}

export interface FolderState {
  stamp: string;
  /** The paths of all files, folders and links, each with a text that tells its type, attributes and contents. */
  prints: Map<string, string>;
}

/** The file that keeps the state of a folder. */
function stateFile(dir: string): string {
  return `${dir}.state`;
}

/** Returns the state of a folder; undefined when none is known, or when the folder is not as it was left. */
export function readFolderState(dir: string): FolderState | undefined {
  try {
    const all = readFileSync(stateFile(dir));
    const end = all.indexOf('\n');
    const header: Header = JSON.parse(all.toString('utf8', 0, end));
    if (header.version !== 1 || header.boot !== bootId()) return undefined;
    if (!header.folders.every(([path, state]) => placeOf(dir, path) === state)) return undefined;
    const texts = nameOf(all, end + 1).split('\0');
    const prints = new Map<string, string>();
    for (let i = 0; i + 1 < texts.length; i += 2) prints.set(texts[i] as string, texts[i + 1] as string);
    return { stamp: header.stamp, prints };
  } catch {
    return undefined;
  }
}

/** Forgets the state of a folder. It is called before anything in the folder is changed. */
export function forgetFolderState(dir: string): void {
  rmSync(stateFile(dir), { force: true });
}

/**
 * Keeps the state of a folder, and the digests of its files beside it. Returns its stamp; undefined when it could not be
 * kept. `folders` are the paths of all folders in it.
 */
export function keepFolderState(
  dir: string,
  prints: ReadonlyMap<string, string>,
  folders: Iterable<string>,
  contents: SentContents,
): string | undefined {
  const temp = `${stateFile(dir)}.new`;
  try {
    let text = '';
    for (const [path, print] of prints) text += `${path}\0${print}\0`;
    const bytes = rawName(text);
    if (bytes.length > mostBytes) return undefined;
    const header: Header = {
      version: 1,
      boot: bootId(),
      stamp: createHash('sha256').update(bytes).digest('hex'),
      folders: ['', ...folders].map((path) => [path, placeOf(dir, path)]),
    };
    writeContents(dir, header.stamp, contents);
    writeFileSync(temp, Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), Buffer.from(bytes)]), {
      mode: 0o600,
    });
    renameSync(temp, stateFile(dir));
    return header.stamp;
  } catch {
    // A full disk: the next archive is unpacked as the first one was.
    rmSync(temp, { force: true });
    return undefined;
  }
}

/** A text that no other file's contents have: for what is not worth a digest. */
export function unlike(): string {
  return `!${randomUUID()}`;
}

let boot: string | undefined;

function bootId(): string {
  boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  return boot;
}

function placeOf(dir: string, path: string): string {
  const stat = lstatHost(path === '' ? dir : `${dir}/${path}`);
  return stat === undefined ? 'gone' : `${stat.ino} ${stat.ctimeNs} ${stat.mtimeNs}`;
}
