/**
 * The digests of the files in a client's kept folder, kept beside it. They were taken while the files came, so that
 * nobody reads the files for them. They belong to one state of the folder (its stamp).
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { nameOf, rawName } from '../linux/index.ts';

/** Paths in the folder (`/src/main.go`) and the digests of those files' bytes, as `hashBlocks` makes them. */
export type SentContents = ReadonlyMap<string, string>;

/** The file that is kept beside a folder. */
function contentsFile(dir: string): string {
  return `${dir}.contents`;
}

/** Returns the digests in a state of a folder; undefined if they are not known. Not every file need be among them. */
export function readContents(dir: string, stamp: string): SentContents | undefined {
  try {
    const bytes = readFileSync(contentsFile(dir));
    const head = `${stamp}\n`;
    if (bytes.toString('latin1', 0, head.length) !== head) return undefined;
    const contents = new Map<string, string>();
    for (const entry of nameOf(bytes, head.length).split('\0')) {
      const slash = entry.indexOf('/');
      if (slash > 0) contents.set(entry.slice(slash), entry.slice(0, slash));
    }
    return contents;
  } catch {
    return undefined; // The files are read.
  }
}

/** Keeps the digests. If it cannot, the files are read when their digests are wanted. */
export function writeContents(dir: string, stamp: string, contents: SentContents): void {
  const temp = `${contentsFile(dir)}.new`;
  let text = `${stamp}\n`;
  for (const [path, digest] of contents) text += `${digest}${path}\0`;
  try {
    writeFileSync(temp, rawName(text), { mode: 0o600 });
    renameSync(temp, contentsFile(dir));
  } catch {
    rmSync(temp, { force: true });
  }
}
