/** The worker task `fs.seed`: a whole view copied into an empty layer folder, with everything preserved. */
import { toDrydockError } from '../errors/index.ts';
import { type Abortable, stopper } from './make.ts';
import { openView } from './open.ts';
import type { ViewSpec } from './view.ts';
import { type WrittenTree, writeTree } from './write-tree.ts';

interface SeedArgs {
  spec: ViewSpec;
  /** The layer folder: there, and empty. */
  dest: string;
}

/** Throws `unsupported` for a character device 0/0 (in a layer it would be a deletion), `exhausted` on a full disk. */
export function seed(args: SeedArgs, ctx: Abortable): WrittenTree {
  try {
    const view = openView(args.spec, undefined, stopper(ctx));
    return writeTree(view, args.dest, { owners: true, lenient: false, root: true }, ctx);
  } catch (err) {
    throw toDrydockError(err, 'store');
  }
}
