/** The worker task `fs.apply`: applies file actions, in order, to a layer folder. */
import { canceled, DrydockError, errnoCode, fail, toDrydockError, withoutPaths } from '../errors/index.ts';
import type { ApplyArgs, ApplyResult, FileActionSpec } from './actions.ts';
import { applyCopy } from './copy.ts';
import { applyMkdir, applyMkfile, applyRm, applySymlink } from './edit.ts';
import type { Abortable } from './make.ts';
import { LayerTarget } from './target.ts';

/**
 * Applies actions. After a failure the layer folder holds part of the work and must be discarded. Throws the errors of
 * the actions with the action's index as `details.action`; also `canceled` when the caller gave up, `exhausted` on a
 * full disk.
 */
export async function apply(args: ApplyArgs, ctx: Abortable): Promise<ApplyResult> {
  const target = new LayerTarget(args.target.dirs);
  try {
    for (const [i, action] of args.actions.entries()) {
      if (ctx.aborted()) throw canceled();
      try {
        await applyOne(target, action, ctx);
      } catch (err) {
        const error = describe(err, action, args);
        error.details = { ...error.details, action: i };
        throw error;
      }
    }
  } finally {
    target.close();
  }
  return { entries: target.entries, bytes: target.bytes };
}

async function applyOne(target: LayerTarget, action: FileActionSpec, ctx: Abortable): Promise<void> {
  switch (action.kind) {
    case 'mkdir':
      return applyMkdir(target, action);
    case 'mkfile':
      return applyMkfile(target, action);
    case 'symlink':
      return applySymlink(target, action);
    case 'rm':
      return applyRm(target, action, ctx);
    case 'copy':
      return applyCopy(target, action, ctx);
  }
}

/** Translates a system error, with the paths that users know instead of those of layer folders. */
function describe(err: unknown, action: FileActionSpec, { target }: ApplyArgs): DrydockError {
  if (err instanceof DrydockError) return err;
  const code = errnoCode(err);
  const known = toDrydockError(err, 'file');
  if (code === undefined || (known.code !== 'internal' && known.code !== 'invalid')) return known;
  let message = err instanceof Error ? err.message : String(err);
  for (const dir of target.dirs) message = message.replaceAll(dir, '');
  if (code === 'ENOENT') {
    const gone = `${action.kind}: a file went away while it was copied: ${message}`;
    return fail('conflict', 'file', gone, { cause: withoutPaths(err) });
  }
  const bad = ['ENAMETOOLONG', 'EINVAL', 'ELOOP', 'ENOTDIR', 'EISDIR', 'EFBIG'].includes(code);
  if (!bad) return fail('internal', 'file', `${action.kind}: ${message}`, { cause: err });
  // When the message has two paths, the first is the source's, in a folder of ours.
  message = message.replace(/'\/.*' -> (?='\/)/s, '');
  return fail('invalid', 'file', `${action.kind}: ${message}`, {
    cause: withoutPaths(err),
    hint: known.hint,
  });
}
