import { fail } from '../errors/index.ts';
import type { ViewSpec } from '../fs/index.ts';
import { formatPlatform } from '../oci/index.ts';
import { runTask } from '../workers/index.ts';
import { contextOf } from './layers.ts';
import type { ExportContext, PlatformResult } from './types.ts';

/** The files of a platform, and their place below the destination. */
interface PlatformTree {
  spec: ViewSpec;
  /** `linux_arm_v7`; '' when there is one platform and no folder for it is asked for. */
  folder: string;
  name: string;
}

/**
 * The files of all platforms. Throws `invalid` when files of two platforms would come to one place
 * (`platform-split=false`, or one folder's name for both), and for a platform whose name, which a frontend chooses,
 * leads out of the destination.
 */
export async function platformTrees(
  results: readonly PlatformResult[],
  split: boolean | undefined,
  ctx: ExportContext,
): Promise<PlatformTree[]> {
  const apart = split ?? results.length > 1;
  if (apart) checkFolders(results.map(idOf));
  const trees = await Promise.all(
    results.map(async (result) => ({
      spec: (await result.ref?.view(contextOf(ctx))) ?? ({ kind: 'empty' } satisfies ViewSpec),
      folder: apart ? folderOf(idOf(result)) : '',
      name: idOf(result),
    })),
  );
  if (!apart && trees.length > 1) await runTask('fs.overlap', { trees }, { signal: ctx.signal });
  return trees;
}

function idOf({ platform, id = formatPlatform(platform) }: PlatformResult): string {
  return id;
}

/** Throws `invalid` when two platforms have one folder's name: files of the one would get lost among the other's. */
function checkFolders(ids: readonly string[]): void {
  const taken = new Map<string, string>();
  for (const id of ids) {
    const other = taken.get(folderOf(id));
    if (other !== undefined) {
      const both = `${JSON.stringify(other)} and ${JSON.stringify(id)}`;
      throw fail('invalid', 'export', `the results' platforms ${both} have one folder, ${folderOf(id)}`, {
        hint: 'The frontend has named them so: use another one.',
      });
    }
    taken.set(folderOf(id), id);
  }
}

function folderOf(id: string): string {
  const folder = id.replaceAll('/', '_');
  if (folder !== '.' && folder !== '..' && !folder.includes('\0')) return folder;
  throw fail('invalid', 'export', `the result's platform ${JSON.stringify(id)} is no name of a folder`, {
    hint: 'The frontend has named it so: use another one.',
  });
}
