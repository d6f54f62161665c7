/** Pushes a committed image that is not, or not so, in the store: by digest only, or exactly as it was made. */
import { fail } from '../errors/error.ts';
import { originLabels, originOf } from '../images/origin.ts';
import { parseReference } from '../oci/reference.ts';
import { type Descriptor, type Digest, isForeignLayer } from '../oci/types.ts';
import { type Store, snapshotLabels } from '../store/store.ts';
import type { Committed } from './commit.ts';
import type { ExportContext } from './types.ts';

/**
 * Pushes under a tag, or under its digest alone. All blobs must be in content. Throws the registry's errors,
 * `canceled`.
 */
export async function pushCommitted(
  { target, images }: Committed,
  name: string,
  byDigest: boolean,
  ctx: ExportContext,
): Promise<void> {
  const { store, registry, signal, session, progress } = ctx;
  const common = { signal, credentials: (host: string) => session.credentials(host) };
  const { domain, path } = parseReference(name);
  const at = (descriptor: Descriptor) => `${domain}/${path}@${descriptor.digest}`;
  const blobs = new Map(
    images
      .flatMap(({ config, layers }) => [config, ...layers])
      .filter((blob) => !isForeignLayer(blob))
      .map((blob) => [blob.digest, blob]),
  );
  await Promise.all(
    [...blobs.values()].map(async (blob) => {
      const report = (current: number, done = false) =>
        progress.report(blob.digest, { current, total: blob.size, done });
      report(0);
      const open = () => store.content.read(blob.digest);
      await registry.pushBlob(name, blob, open, { ...common, onProgress: (sent) => report(sent) });
      report(blob.size, true);
    }),
  );
  const put = async (descriptor: Descriptor, ref: string) =>
    registry.pushManifest(ref, descriptor, await store.content.bytes(descriptor.digest), common);
  for (const { descriptor } of images) {
    if (descriptor.digest !== target.digest) await put(descriptor, at(descriptor));
  }
  await put(target, byDigest ? at(target) : name);
}

/**
 * Remembers of the layers of a pushed image which blobs they are out there, so that images built on it have these very
 * ones, and do not pack them anew in another way.
 */
export async function rememberPublished({ images }: Committed, name: string, store: Store): Promise<void> {
  for (const { layers, snapshots } of images) {
    for (const [i, blob] of layers.entries()) {
      const own = snapshots[i] === undefined ? undefined : await store.snapshots.stat(snapshots[i]);
      // In a containerd, images stand on snapshots of their own, which are named by their chains.
      const chain = own?.labels[snapshotLabels.chainId] as Digest | undefined;
      const named = chain === undefined ? undefined : await store.snapshots.byChain(chain);
      for (const info of [own, named]) {
        if (info === undefined || originOf(info.labels).blob !== undefined) continue;
        const madeAt = info.labels[snapshotLabels.madeAt] ?? String(info.createdAt);
        await store.snapshots.setLabels(info.key, {
          ...originLabels({ blob, from: name }),
          [snapshotLabels.madeAt]: madeAt,
        });
      }
    }
  }
}

/** Throws `invalid` when there is nothing to push to. */
export function checkPushNames(names: readonly string[]): void {
  if (names.length > 0) return;
  throw fail('invalid', 'export', 'an image without a name cannot be pushed', {
    hint: 'Name it: -t REGISTRY/REPOSITORY:TAG, or name=… in the output.',
  });
}
