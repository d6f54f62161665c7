import { type DrydockError, fail } from '../errors/index.ts';

/** The error for a folder that the client does not have. */
export function noFolder(name: string, cause?: unknown): DrydockError {
  return fail('not-found', 'context', `the client offers no folder named ${JSON.stringify(name)}`, {
    cause,
    hint:
      name === 'context' ? 'Give the build a context folder.' : `Give it with --build-context ${name}=PATH.`,
  });
}
