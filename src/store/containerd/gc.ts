import { Code } from '@connectrpc/connect';
import { inParallel } from '../../flow/index.ts';
import type { Digest } from '../../oci/index.ts';
import { takeCensus } from '../shared/run-folder.ts';
import type { GcReport } from '../store.ts';
import type { ContainerdContent } from './content.ts';
import { hasCode } from './errors.ts';
import { leaseLabels } from './lease-names.ts';
import { deleteLeases, ownLeases } from './leases.ts';
import type { ContainerdParts } from './shared.ts';
import type { ContainerdSnapshots } from './snapshots.ts';
import type { Views } from './views.ts';

/** The parts of a store whose contents a collection changes. */
export interface CollectedParts {
  content: ContainerdContent;
  snapshots: ContainerdSnapshots;
  views: Views;
}

/**
 * Deletes the leases of this root's dead processes and collects the things that only they kept. Returns the run folders of these processes, for the caller to remove. `lingering`: whether the blobs that
 * linger (`Content.linger`) go too.
 */
export async function sweepDeadRuns(
  shared: ContainerdParts,
  runFolder: string,
  lingering: 'too' | 'stay' = 'stay',
): Promise<string[]> {
  const runs = takeCensus(runFolder, shared.run.id);
  try {
    const live = new Set(runs.live);
    const dead = (await ownLeases(shared, 'passing')).filter(({ labels }) => {
      const run = labels[leaseLabels.run];
      if (labels[leaseLabels.use] === 'linger') return lingering === 'too';
      return run !== undefined && !live.has(run);
    });
    await deleteLeases(
      shared,
      dead.map(({ id }) => id),
      { collect: true },
    );
    return runs.dead;
  } finally {
    runs.release();
  }
}

/**
 * Has containerd collect garbage and waits for it. The report lists the things that are gone since `before`: containerd
 * also collects by itself, in all namespaces, within a second after something was deleted.
 */
export async function collect(
  shared: ContainerdParts,
  { content, snapshots, views }: CollectedParts,
  before: Census,
): Promise<GcReport> {
  await Promise.all([views.flush(), shared.passing.flush()]);
  await collectNow(shared);
  const [blobs, layers] = await Promise.all([content.list(), snapshots.list()]);
  const left = new Set<string>([...blobs.map(({ digest }) => digest), ...layers.map(({ key }) => key)]);
  const report: GcReport = { blobs: [], snapshots: [], reclaimed: 0 };
  for (const { digest, size } of before.blobs) {
    if (left.has(digest)) continue;
    report.blobs.push(digest);
    report.reclaimed += size;
  }
  for (const { key, size } of before.layers) {
    if (left.has(key)) continue;
    report.snapshots.push(key);
    report.reclaimed += size;
  }
  return report;
}

/** The blobs and snapshots that are there, with their sizes in bytes. */
interface Census {
  blobs: { digest: Digest; size: number }[];
  layers: { key: string; size: number }[];
}

export async function census({
  content,
  snapshots,
}: Pick<CollectedParts, 'content' | 'snapshots'>): Promise<Census> {
  const [blobs, infos] = await Promise.all([content.list(), snapshots.list()]);
  const layers = await inParallel(infos, async ({ key }) => {
    const usage = await snapshots.usage(key).catch(() => undefined);
    return { key, size: usage?.size ?? 0 };
  });
  return { blobs, layers };
}

/** containerd collects garbage before it answers a synchronous deletion of a lease. */
export async function collectNow(shared: ContainerdParts): Promise<void> {
  const { connection, names, run } = shared;
  const id = names.of(`gc-${run.id}-${crypto.randomUUID()}`);
  await connection.call('collecting garbage', { again: true }, async (call) => {
    try {
      await connection.leases.create(
        { id, labels: names.labels('ingest', { run: run.id, ms: 60_000 }) },
        call,
      );
    } catch (err) {
      if (!hasCode(err, Code.AlreadyExists)) throw err;
    }
    await connection.leases.delete({ id, sync: true }, call);
  });
}
