import { DrydockError, errnoCode, fail, toDrydockError } from '../errors/index.ts';

/** The error of writing a result to a place that the user has named, with that place and a hint. */
export function outputError(err: unknown, dest: string): DrydockError {
  if (err instanceof DrydockError) return err;
  const code = errnoCode(err);
  const message = `writing to ${dest}: ${err instanceof Error ? err.message : String(err)}`;
  const rest = { cause: err, details: { path: dest } };
  switch (code) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return fail('denied', 'export', message, { ...rest, hint: 'Choose a folder that you may write to.' });
    case 'EEXIST':
    case 'ENOTDIR':
      return fail('invalid', 'export', message, {
        ...rest,
        hint: 'A file is in the way: name a folder, or one that is not there yet.',
      });
    case 'ENOSPC':
    case 'EDQUOT':
      return fail('exhausted', 'export', `writing to ${dest}: no space left on its disk`, {
        ...rest,
        hint: 'Free space there, or name another destination.',
      });
    default:
      return toDrydockError(err, 'export');
  }
}
