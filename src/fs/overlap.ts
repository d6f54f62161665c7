/** The worker task `fs.overlap`: checks that trees to be written to one place have no files of the same path. */
import { canceled, fail } from '../errors/index.ts';
import type { Abortable } from './make.ts';
import { openView } from './open.ts';
import type { ViewSpec } from './view.ts';

interface OverlapArgs {
  trees: { name: string; spec: ViewSpec }[];
}

/**
 * Throws `invalid` (hop `export`), in BuildKit's words, for the first file that two trees have. Folders may be shared.
 */
export function checkOverlap({ trees }: OverlapArgs, ctx: Abortable): void {
  const seen = new Map<string, string>();
  for (const { name, spec } of trees) {
    const view = openView(spec);
    const pending = ['/'];
    for (let dir = pending.pop(); dir !== undefined; dir = pending.pop()) {
      if (ctx.aborted()) throw canceled();
      for (const { path, type } of view.readdir(dir)) {
        if (type === 'dir') {
          pending.push(path);
          continue;
        }
        const first = seen.get(path);
        if (first !== undefined) throw taken(path, first, name);
        seen.set(path, name);
      }
    }
  }
}

function taken(path: string, first: string, second: string) {
  const shown = path.slice(1);
  return fail(
    'invalid',
    'export',
    `cannot overwrite ${shown} from ${first} with ${second} when split option is disabled`,
    { hint: 'Leave platform-split=false out: each platform then has a folder of its own.' },
  );
}
