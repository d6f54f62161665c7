/**
 * `keep=` and `max-size=` of a cache in a folder, which the client sees to. The folder's index has the older exports
 * as entries without a name, oldest first.
 */
import { existsSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { editLayout, readLayoutIndex } from '../../exporter/index.ts';
import { type Descriptor, type Digest, hex, refNameAnnotation } from '../../oci/index.ts';
import { blobFile, blobsIn, blobsNamed } from '../folder-blobs.ts';
import { howMany, type KeepRule, type KeptBlob } from './rule.ts';

/** The annotation of an older export: the name that it had. */
const olderOf = 'drydock.cache.older-of';
/** How old a blob is that no manifest needs before it goes: another build may be about to name it. */
const orphanAge = 48 * 3600_000;

/**
 * Names a new export in a folder's index, and removes what only exports need that do not stay. The index is written
 * before anything goes. Throws the error of reading when a document of the folder cannot be read; nothing is removed then.
 */
export async function keepInFolder(
  dir: string,
  name: string,
  manifest: Descriptor,
  rule: KeepRule,
): Promise<void> {
  const before = (await readLayoutIndex(dir))?.manifests ?? [];
  // A builder that sees to the folder for other clients removes exports, and does not see the index.
  const older = olderExports(before, name, manifest.digest).filter(({ digest }) =>
    existsSync(blobFile(dir, hex(digest))),
  );
  const exports = [manifest, ...older];
  const sizes =
    rule.bytes === undefined ? undefined : await Promise.all(exports.map((each) => sizesOf(dir, each)));
  const kept =
    sizes === undefined ? Math.min(exports.length, rule.count ?? exports.length) : howMany(sizes, rule);
  const stay = new Set(exports.slice(1, kept).map(({ digest }) => digest));
  await editLayout(dir, (entries) => {
    const others = entries.filter(
      ({ annotations }) => annotations?.[refNameAnnotation] !== name && annotations?.[olderOf] !== name,
    );
    const history = olderExports(entries, name, manifest.digest).filter(({ digest }) => stay.has(digest));
    return [
      ...others,
      ...history.reverse().map((entry) => ({ ...entry, annotations: { [olderOf]: name } })),
      { ...manifest, annotations: { [refNameAnnotation]: name } },
    ];
  });
  const doomed = new Set<string>();
  // One that a crash has left in part, or that somebody has removed, needs nothing any more.
  for (const { digest } of exports.slice(kept)) {
    for (const blob of await blobsNamed(dir, [digest]).catch(() => [])) doomed.add(blob);
  }
  const needed = await blobsNamed(
    dir,
    ((await readLayoutIndex(dir))?.manifests ?? []).map(({ digest }) => digest),
  );
  const now = Date.now();
  for (const blob of await blobsIn(dir)) {
    if (needed.has(blob)) continue;
    const file = blobFile(dir, blob);
    const isOld = async () => now - ((await stat(file).catch(() => undefined))?.mtimeMs ?? now) > orphanAge;
    if (doomed.has(blob) || (await isOld())) await rm(file, { force: true });
  }
}

/** The exports of a name that an index has, newest first, but for one. */
function olderExports(entries: readonly Descriptor[], name: string, but: Digest): Descriptor[] {
  const of = (annotation: string) =>
    entries.filter(({ annotations }) => annotations?.[annotation] === name).reverse();
  return [...of(refNameAnnotation), ...of(olderOf)].filter(({ digest }) => digest !== but);
}

async function sizesOf(dir: string, { digest }: Descriptor): Promise<KeptBlob[]> {
  const names = [...(await blobsNamed(dir, [digest]))];
  return Promise.all(
    names.map(async (blob) => ({
      digest: `sha256:${blob}` as Digest,
      size: (await stat(blobFile(dir, blob)).catch(() => undefined))?.size ?? 0,
    })),
  );
}
