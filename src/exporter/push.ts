/**
 * Pushes a committed image that is not in the store, or not in this form: by its digest alone, or exactly as it was
 * made.
 */
import { fetchBlobInto, noteOrigin } from '../distribution/index.ts';
import { fail } from '../errors/index.ts';
import { type Descriptor, isForeignLayer, parseReference } from '../oci/index.ts';
import type { Committed } from './commit.ts';
import type { ExportContext } from './types.ts';

/**
 * Pushes the image under a tag, or under its digest alone. `beforeTag` gets the image's `REPOSITORY@DIGEST` when all of it
 * is there, before the tag is. A layer that is not in content is mounted from its source's repository, or fetched, where
 * the registry lacks it. Throws the registry's errors and `canceled`.
 *
 *     await pushCommitted(committed, 'reg.example/app:1', false, ctx);
 */
export async function pushCommitted(
  { target, images, attestations }: Committed,
  name: string,
  byDigest: boolean,
  ctx: ExportContext,
  beforeTag?: (ref: string) => Promise<void>,
): Promise<void> {
  const { store, registry, signal, session, progress, lease } = ctx;
  if (session.offline) throw fail('invalid', 'export', `${name} cannot be pushed by an offline build`);
  const common = { signal, credentials: (host: string) => session.credentials(host) };
  const sources = new Map(images.flatMap((image) => [...image.sources]));
  const { domain, path } = parseReference(name);
  const at = (descriptor: Descriptor) => `${domain}/${path}@${descriptor.digest}`;
  const blobs = new Map(
    [
      ...images.flatMap(({ config, layers }) => [config, ...layers]),
      ...attestations.flatMap(({ blobs }) => blobs),
    ]
      .filter((blob) => !isForeignLayer(blob))
      .map((blob) => [blob.digest, blob]),
  );
  await Promise.all(
    [...blobs.values()].map(async (blob) => {
      const report = (current: number, done = false) =>
        progress.report(blob.digest, { current, total: blob.size, done });
      report(0);
      const source = sources.get(blob.digest);
      const open = async () => {
        if (source !== undefined) await fetchBlobInto(store, registry, source, blob, { ...common, lease });
        return store.content.read(blob.digest);
      };
      const onProgress = (sent: number) => report(sent);
      await registry.pushBlob(name, blob, open, { ...common, mountFrom: source, onProgress });
      report(blob.size, true);
    }),
  );
  const put = async (descriptor: Descriptor, ref: string) =>
    registry.pushManifest(ref, descriptor, await store.content.bytes(descriptor.digest), common);
  for (const descriptor of [
    ...images.map((image) => image.descriptor),
    ...attestations.map(({ entry }) => entry),
  ]) {
    if (descriptor.digest !== target.digest) await put(descriptor, at(descriptor));
  }
  if (beforeTag !== undefined || byDigest) await put(target, at(target));
  await beforeTag?.(at(target));
  if (!byDigest) await put(target, name);
  // Images that are built on this one will have its layers as they are there.
  await noteOrigin(store, name, [target.digest, ...blobs.keys()]);
}

/** Throws `invalid` when there is no name to push to. */
export function checkPushNames(names: readonly string[]): void {
  if (names.length > 0) return;
  throw fail('invalid', 'export', 'an image without a name cannot be pushed', {
    hint: 'Name it: -t REGISTRY/REPOSITORY:TAG, or name=… in the output.',
  });
}
