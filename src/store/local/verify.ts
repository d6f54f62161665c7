import { join } from 'node:path';
import { errnoCode, toDrydockError } from '../../errors/index.ts';
import { lazyFolder } from '../../lazy/index.ts';
import type { Digest } from '../../oci/index.ts';
import { runTask } from '../../workers/index.ts';
import type { VerifyReport } from '../store.ts';
import { blobPath, layerFolder } from './layout.ts';
import { mend } from './mend.ts';
import { sweepDeadRuns } from './run.ts';
import type { LocalParts } from './shared.ts';

/** How many blobs are read at once; the pool has about as many threads. */
const width = 4;

/**
 * Implements `Store.verify`. First rows and files are made to agree; then every blob is read. A blob with wrong bytes
 * is reported and kept: deleting it is the user's choice.
 */
export async function verify(
  shared: LocalParts,
  onProgress?: (done: number, total: number) => void,
): Promise<VerifyReport> {
  const { db } = shared;
  sweepDeadRuns(shared);
  const problems = mend(shared, true);
  const digests = db
    .all('SELECT digest FROM blobs ORDER BY digest')
    .map((row) => String(row.digest) as Digest);
  const snapshots = Number(db.get('SELECT count(*) AS n FROM snapshots')?.n);
  for (const row of db.all(
    `SELECT s.key, s.parent FROM snapshots s LEFT JOIN snapshots p ON p.key = s.parent
     WHERE s.parent IS NOT NULL AND (p.key IS NULL OR p.run IS NOT NULL)`,
  )) {
    problems.push(`the snapshot ${row.key} has no committed parent ${row.parent}`);
  }
  for (const row of db.all('SELECT key FROM snapshots WHERE layer NOT IN (SELECT id FROM layers)')) {
    problems.push(`the snapshot ${row.key} has no layer`);
  }
  let next = 0;
  let done = 0;
  const check = async () => {
    for (let digest = digests[next++]; digest !== undefined; digest = digests[next++]) {
      const problem = await checkBlob(shared, digest);
      if (problem !== undefined) problems.push(problem);
      onProgress?.(++done, digests.length);
    }
  };
  await Promise.all(Array.from({ length: width }, check));
  for (const { id } of db.all('SELECT id FROM layers WHERE lazy = 1 ORDER BY id')) {
    const problem = await checkLazy(shared, Number(id));
    if (problem !== undefined) problems.push(problem);
  }
  await shared.trash.settled();
  return { blobs: digests.length, snapshots, problems };
}

async function checkLazy({ db, layout }: LocalParts, id: number): Promise<string | undefined> {
  try {
    const folder = join(layerFolder(layout, id), lazyFolder);
    const { fetched, forgotten } = await runTask('lazy.verify', { folder });
    if (forgotten === 0) return undefined;
    return `of the lazy layer ${id}, ${forgotten} of ${fetched} fetched parts did not hold; they are fetched again when they are read`;
  } catch (err) {
    // A layer that another process has removed since is no problem.
    if (db.get('SELECT 1 FROM layers WHERE id = ? AND lazy = 1', id) === undefined) return undefined;
    const { message, hint } = toDrydockError(err);
    return hint === undefined ? message : `${message}. ${hint}`;
  }
}

async function checkBlob({ db, layout }: LocalParts, digest: Digest): Promise<string | undefined> {
  // A blob that another process has removed since is no problem.
  const gone = () => db.get('SELECT 1 FROM blobs WHERE digest = ?', digest) === undefined;
  try {
    const found = await runTask('store.hash', { path: blobPath(layout, digest) });
    if (found.digest === digest) return undefined;
    return gone() ? undefined : `the bytes of the blob ${digest} have the digest ${found.digest}`;
  } catch (err) {
    if (gone()) return undefined;
    const cause =
      err instanceof Error && errnoCode(err.cause) === 'ENOENT' ? 'its file is gone' : String(err);
    return `the blob ${digest} cannot be read: ${cause}`;
  }
}
