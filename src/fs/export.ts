/** The worker task `fs.export`: writes a tree to a folder of the user's, as the local exporter does. */
import { canceled } from '../errors/index.ts';
import { lutimesNs, mkdirSync, readdirSync, realpathSync, removeTree, rootlessUser } from '../linux/index.ts';
import { type Abortable, stopper } from './make.ts';
import { openView } from './open.ts';
import { outputError } from './output-error.ts';
import { inFolder } from './real.ts';
import { lstatHost } from './stat.ts';
import type { FsView, ViewSpec } from './view.ts';
import { type WrittenTree, writeTree } from './write-tree.ts';

interface ExportArgs {
  spec: ViewSpec;
  /** A folder on this host, made when missing. Its files stay, unless the tree has something of the same name. */
  dest: string;
  /** The time of everything that is written, ns since the epoch. */
  timestampNs?: bigint;
  /** Whether to remove files from `dest` afterwards that the tree does not have. */
  remove?: boolean;
}

/**
 * Writes a view out. Owners are kept when this process is root. Throws `invalid` when `dest` is no folder, `denied`
 * without permission to write there, `exhausted` on a full disk (hop `export`).
 */
export function exportTree(args: ExportArgs, ctx: Abortable): WrittenTree {
  const { dest, timestampNs } = args;
  try {
    mkdirSync(dest, { recursive: true });
    // The owners inside of a user's namespace are no users of the machine.
    const owners = process.geteuid?.() === 0 && rootlessUser() === undefined;
    const view = openView(args.spec, undefined, stopper(ctx));
    const real = realpathSync(dest);
    const written = writeTree(view, real, { timestampNs, owners, lenient: true, root: false }, ctx);
    if (args.remove) removeOthers(view, real, ctx);
    return written;
  } catch (err) {
    throw outputError(err, dest);
  }
}

/** Removes everything in a folder that is not in the view, whose files are there already. */
function removeOthers(view: FsView, dest: string, ctx: Abortable): void {
  const pending = ['/'];
  for (let dir = pending.pop(); dir !== undefined; dir = pending.pop()) {
    if (ctx.aborted()) throw canceled();
    const wanted = new Map(view.readdir(dir).map((entry) => [entry.name, entry]));
    for (const { type, path } of wanted.values()) if (type === 'dir') pending.push(path);
    inFolder(dir === '/' ? dest : `${dest}${dir}`, dir, (at) => {
      const before = lstatHost(`${at}/.`);
      let removed = false;
      for (const name of readdirSync(at)) {
        if (wanted.has(name)) continue;
        removeTree(`${at}/${name}`);
        removed = true;
      }
      if (removed && dir !== '/' && before !== undefined)
        lutimesNs(`${at}/.`, before.mtimeNs, before.mtimeNs);
    });
  }
}
