/**
 * The folders of this machine that builds were given, by the builds' references. The records of builds may be read by
 * others and hold no folder of a client, so these are kept on the client's side: a line of JSON for each build, in a file
 * under the command's root that is the user's alone.
 */
import { closeSync, fstatSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { errnoCode } from '../../errors/index.ts';
import { ownFolder } from '../../linux/index.ts';

/** Folders by the names that the build's session has for them: `context`, `dockerfile`, `context:NAME`. */
type GivenFolders = Readonly<Record<string, string>>;

/** The size, in bytes, at which the older half of the lines is left out: some thousand builds. */
const mostBytes = 512 << 10;

const fileUnder = (root: string) => join(root, 'folders.jsonl');

/** Notes the folders of a build. A disk that takes no note fails no build. */
export function noteFolders(root: string, ref: string, folders: GivenFolders): void {
  if (Object.keys(folders).length === 0) return;
  const file = fileUnder(root);
  try {
    const size = append(file, `${JSON.stringify([ref, folders])}\n`);
    if (size > mostBytes) shorten(file);
  } catch {
    // The folder can be given to `drydock debug` as well.
  }
}

/** The folders that a build was given; none when they are not known any more. */
export function foldersOf(root: string, ref: string): GivenFolders {
  try {
    const lines = readFileSync(fileUnder(root), 'utf8').split('\n');
    const line = lines.findLast((each) => each.startsWith(`[${JSON.stringify(ref)},`));
    const [, folders] = JSON.parse(line ?? '[]') as [string, GivenFolders?];
    return folders ?? {};
  } catch {
    return {};
  }
}

/** Appends a line, and returns the file's size in bytes. */
function append(file: string, line: string): number {
  const fd = opened(file);
  try {
    writeSync(fd, line);
    return fstatSync(fd).size;
  } finally {
    closeSync(fd);
  }
}

function opened(file: string): number {
  try {
    return openSync(file, 'a', 0o600);
  } catch (err) {
    if (errnoCode(err) !== 'ENOENT') throw err;
    ownFolder(join(file, '..'));
    return openSync(file, 'a', 0o600);
  }
}

function shorten(file: string): void {
  const lines = readFileSync(file, 'utf8').split('\n');
  const rest = `${file}.${process.pid}`;
  writeFileSync(rest, lines.slice(lines.length >> 1).join('\n'), { mode: 0o600 });
  renameSync(rest, file);
}
