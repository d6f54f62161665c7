/**
 * The folders of this machine that builds were given, by the builds' references. The records of builds may be read by
 * others and hold no folder of a client, so these are kept on the client's side: a line of JSON for each build, in a file
 * under the command's root that is the user's alone.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoCode } from '../../errors/index.ts';
import { addLine, ownFolder } from '../../linux/index.ts';

/** Folders by the names that the build's session has for them: `context`, `dockerfile`, `context:NAME`. */
type GivenFolders = Readonly<Record<string, string>>;

/** The size, in bytes, at which the older half of the lines is left out: some thousand builds. */
const mostBytes = 512 << 10;

const fileUnder = (root: string) => join(root, 'folders.jsonl');

/** Notes the folders of a build. A disk that takes no note fails no build. */
export function noteFolders(root: string, ref: string, folders: GivenFolders): void {
  if (Object.keys(folders).length === 0) return;
  const file = fileUnder(root);
  const add = () => addLine(file, JSON.stringify([ref, folders]), mostBytes);
  try {
    try {
      add();
    } catch (err) {
      if (errnoCode(err) !== 'ENOENT') throw err;
      ownFolder(root);
      add();
    }
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
