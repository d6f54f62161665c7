/** The worker task `fs.seed`: copies a whole view into an empty layer folder, with everything preserved. */
import { toDrydockError } from '../errors/index.ts';
import { type Abortable, stopper } from './make.ts';
import { openView } from './open.ts';
import type { ViewSpec } from './view.ts';
import { type WrittenTree, writeTree } from './write-tree.ts';

interface SeedArgs {
  spec: ViewSpec;
  /** The layer folder, which exists and is empty. */
  dest: string;
}

/**
 * Copies the view. Throws `unsupported` for a character device 0/0 (which would be a deletion in a layer), `exhausted`
 * on a full disk.
 */
export function seed(args: SeedArgs, ctx: Abortable): WrittenTree {
  try {
    const view = openView(args.spec, undefined, stopper(ctx));
    return writeTree(view, args.dest, { owners: true, lenient: false, root: true }, ctx);
  } catch (err) {
    throw toDrydockError(err, 'store');
  }
}
