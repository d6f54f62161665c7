import { rm } from 'node:fs/promises';
import { fail } from '../errors/index.ts';
import type { ViewSpec } from '../fs/index.ts';
import { formatPlatform } from '../oci/index.ts';
import { runTask } from '../workers/index.ts';
import type { FileAttrs } from './attrs.ts';
import { withStatements } from './file-attestations.ts';
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
 * The files of all platforms; a platform that was asked for twice comes once. Throws `invalid` when files of two
 * platforms would come to one place (`platform-split=false`, or one folder's name for both), and for a platform whose
 * name, which a frontend chooses, leads out of the destination. The folders that it makes for statements are added to
 * `made`; the caller removes them.
 */
export async function platformTrees(
  asked: readonly PlatformResult[],
  { platformSplit: split, attestationPrefix: prefix }: Pick<FileAttrs, 'platformSplit' | 'attestationPrefix'>,
  ctx: ExportContext,
  made: string[] = [],
): Promise<PlatformTree[]> {
  const apart = split ?? asked.length > 1;
  // Results of one name are one tree: a frontend's trees are known by their platforms' names.
  const results = [...new Map(asked.map((result) => [idOf(result), result])).values()];
  if (apart) checkFolders(results.map(idOf));
  const trees = await Promise.all(
    results.map(async (result) => {
      const plain = (await result.ref?.view(contextOf(ctx))) ?? ({ kind: 'empty' } satisfies ViewSpec);
      const name = idOf(result);
      const platform = !apart && results.length > 1 ? name : undefined;
      const spec = await withStatements(plain, result.attestations ?? [], { prefix, platform }, ctx, made);
      return { spec, folder: apart ? folderOf(name) : '', name };
    }),
  );
  if (!apart && trees.length > 1) await runTask('fs.overlap', { trees }, { signal: ctx.signal });
  return trees;
}

/** Calls `work` with the files of all platforms, and removes afterwards the folders that were made for statements. */
export async function withPlatformTrees<T>(
  results: readonly PlatformResult[],
  want: Parameters<typeof platformTrees>[1],
  ctx: ExportContext,
  work: (trees: PlatformTree[]) => Promise<T>,
): Promise<T> {
  const made: string[] = [];
  try {
    return await work(await platformTrees(results, want, ctx, made));
  } finally {
    for (const folder of made) await rm(folder, { recursive: true, force: true });
  }
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
