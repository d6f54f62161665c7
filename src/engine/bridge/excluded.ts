/**
 * Says of a file that a COPY has not found which line of `.dockerignore` leaves it out of the client's folder. What is
 * left out of the folder of a client elsewhere never comes here, so that only the patterns can tell.
 */
import { DrydockError } from '../../errors/index.ts';
import { IgnoreMatcher } from '../../fs/index.ts';
import { failedVertex } from '../../solver/index.ts';

/** The folders of so many patterns are looked at. A pattern is matched in time linear in the path. */
const mostPatterns = 10_000;

/** Adds the hint to the failure of a step that copies out of a client's folder; all others are left as they are. */
export function tellExcluded(error: unknown): void {
  if (!(error instanceof DrydockError) || error.code !== 'not-found') return;
  const path = error.details?.path;
  const vertex = failedVertex(error);
  if (typeof path !== 'string' || vertex?.op.op.case !== 'file') return;
  // The file is here, and it was said that it is left out.
  if (error.hint?.includes('.dockerignore')) return;
  for (const { vertex: input } of vertex.inputs) {
    const { op } = input.op;
    if (op.case !== 'source' || !op.value.identifier.startsWith('local://')) continue;
    const by = decisive(op.value.attrs['local.excludepatterns'], path.replace(/^\/+/, ''));
    if (by === undefined) continue;
    error.hint = `If ${path.replace(/^\/+/, '')} is there, .dockerignore excludes it by its line ${by}.`;
    return;
  }
}

/** The pattern of a list in JSON that leaves a path out. */
function decisive(list: string | undefined, path: string): string | undefined {
  if (list === undefined || path === '') return undefined;
  try {
    const patterns = JSON.parse(list) as string[];
    if (patterns.length > mostPatterns) return undefined;
    return new IgnoreMatcher(patterns).decisive(path);
  } catch {
    return undefined; // The source itself has failed by such a list.
  }
}
