/** The worker task `fs.export`: a tree written out for its user, as the local exporter does. */
import { mkdirSync, realpathSync } from 'node:fs';
import { DrydockError, errnoCode, fail, toDrydockError } from '../errors/error.ts';
import type { Abortable } from './make.ts';
import { openView } from './open.ts';
import type { ViewSpec } from './view.ts';
import { type Written, writeTree } from './write-tree.ts';

export interface ExportArgs {
  spec: ViewSpec;
  /** Folder on this host, made when missing. What is in it stays, unless the tree has something of the same name. */
  dest: string;
  /** Times of all that is written, ns since the epoch. */
  timestampNs?: bigint;
}

/**
 * Writes a view out. Owners are kept when we are root. Throws `invalid` when `dest` is no folder, `denied` without
 * permission to write there, `exhausted` on a full disk (hop `export`).
 */
export function exportTree(args: ExportArgs, ctx: Abortable): Written {
  const { dest, timestampNs } = args;
  try {
    mkdirSync(dest, { recursive: true });
    const owners = process.geteuid?.() === 0;
    return writeTree(
      openView(args.spec),
      realpathSync(dest),
      { timestampNs, owners, lenient: true, root: false },
      ctx,
    );
  } catch (err) {
    if (err instanceof DrydockError) throw err;
    const code = errnoCode(err);
    const message = `writing to ${dest}: ${err instanceof Error ? err.message : String(err)}`;
    if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
      throw fail('denied', 'export', message, { cause: err, hint: 'Choose a folder that you may write to.' });
    }
    if (code === 'EEXIST' || code === 'ENOTDIR') throw fail('invalid', 'export', message, { cause: err });
    throw toDrydockError(err, 'export');
  }
}
