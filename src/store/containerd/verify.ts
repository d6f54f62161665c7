import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { inParallel } from '../../flow/index.ts';
import type { Digest } from '../../oci/index.ts';
import { runTask } from '../../workers/index.ts';
import type { SnapshotInfo, VerifyReport } from '../store.ts';
import type { CollectedParts } from './gc.ts';
import type { ContainerdParts } from './shared.ts';

/** How many blobs are read at once; the pool has about as many threads. */
const width = 4;

/**
 * Implements `Store.verify`. Damaged things are reported and kept: deleting them is the user's choice. It reads all
 * blobs and snapshots of the namespace, whoever made them.
 */
export async function verify(
  shared: ContainerdParts,
  parts: CollectedParts,
  onProgress?: (done: number, total: number) => void,
): Promise<VerifyReport> {
  const [blobs, snapshots] = await Promise.all([parts.content.list(), parts.snapshots.list()]);
  const problems: string[] = [];
  let done = 0;
  await inParallel(
    blobs,
    async ({ digest }) => {
      const problem = await checkBlob(shared, parts, digest);
      if (problem !== undefined) problems.push(problem);
      onProgress?.(++done, blobs.length);
    },
    width,
  );
  problems.push(...(await checkSnapshots(parts, snapshots)));
  return { blobs: blobs.length, snapshots: snapshots.length, problems };
}

async function checkBlob(
  shared: ContainerdParts,
  { content }: CollectedParts,
  digest: Digest,
): Promise<string | undefined> {
  try {
    const found = await digestOfBlob(shared, content, digest);
    if (found === digest) return undefined;
    if ((await content.info(digest)) === undefined) return undefined;
    return `the bytes of the blob ${digest} have the digest ${found}`;
  } catch (err) {
    // A blob that another process has removed since is no problem.
    if ((await content.info(digest)) === undefined) return undefined;
    return `the blob ${digest} cannot be read: ${err instanceof Error ? err.message : String(err)}`;
  }
}

async function digestOfBlob(
  shared: ContainerdParts,
  content: CollectedParts['content'],
  digest: Digest,
): Promise<string> {
  const path = shared.blobFolder === undefined ? undefined : await content.localPath(digest);
  if (path !== undefined) return (await runTask('store.hash', { path })).digest;
  const hash = createHash('sha256');
  for await (const chunk of await content.read(digest)) hash.update(chunk as Buffer);
  return `sha256:${hash.digest('hex')}`;
}

/** Checks snapshots by their mounts: those of a snapshot without children name the folders of all below it. */
async function checkSnapshots(
  { snapshots }: CollectedParts,
  all: readonly SnapshotInfo[],
): Promise<string[]> {
  const byKey = new Map(all.map((info) => [info.key, info]));
  const parents = new Set(all.map(({ parent }) => parent));
  const problems: string[] = [];
  const bad = new Set<string>();
  const leaves = all.filter(({ key, kind }) => kind === 'committed' && !parents.has(key));
  for (const { key, parent } of all) {
    if (parent !== undefined && byKey.get(parent)?.kind !== 'committed') {
      problems.push(`the snapshot ${key} has no committed parent ${parent}`);
    }
  }
  await inParallel(leaves, async (leaf) => {
    try {
      const { dirs } = await snapshots.folders(leaf.key);
      let at: SnapshotInfo | undefined = leaf;
      for (const dir of dirs) {
        if (at === undefined) break;
        if (statSync(dir, { throwIfNoEntry: false })?.isDirectory() !== true && !bad.has(at.key)) {
          // containerd collects while we look: a snapshot that went together with its folder is no loss.
          if ((await snapshots.stat(leaf.key)) === undefined) return;
          bad.add(at.key);
          problems.push(`the folder ${dir} of the snapshot ${at.key} is gone`);
        }
        at = at.parent === undefined ? undefined : byKey.get(at.parent);
      }
    } catch (err) {
      // Removed by another process since.
      if ((await snapshots.stat(leaf.key)) === undefined) return;
      problems.push(
        `the snapshot ${leaf.key} cannot be read: ${err instanceof Error ? err.message : String(err)}`,
      );
    }
  });
  return problems;
}
