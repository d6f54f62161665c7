/**
 * The repositories that a manifest in content is known to come from. A digest alone is no permission: a caller who asks
 * for it by a name gets it without a registry only if it came from that name's repository.
 */
import { type Digest, parseReference, type Reference } from '../oci/index.ts';
import type { Store } from '../store/index.ts';
import { isDue, nextTurn } from '../workers/index.ts';

/** The label's name in containerd: `….<registry>` = the repositories, comma-separated. */
const label = 'containerd.io/distribution.source';

/** Notes that a repository has these manifests. */
export async function noteOrigin(store: Store, name: string, digests: readonly Digest[]): Promise<void> {
  const { domain, path } = parseReference(name);
  const key = `${label}.${domain}`;
  for (const digest of new Set(digests)) {
    const info = await store.content.info(digest);
    const known = pathsOf(info?.labels[key]);
    if (info === undefined || known.includes(path)) continue;
    const text = [...known, path].join(',');
    // containerd takes labels of 4096 bytes at most.
    if (text.length + key.length <= 4096) await store.content.setLabels(digest, { [key]: text });
  }
}

/** Labels for a blob that was fetched from a name's repository. */
export function sourceLabels(name: string): Record<string, string> {
  const { domain, path } = parseReference(name);
  return { [`${label}.${domain}`]: path };
}

/** Whether a blob in content came from a registry and so is still in it. */
export async function isPublished(store: Store, digest: Digest): Promise<boolean> {
  const info = await store.content.info(digest);
  return Object.keys(info?.labels ?? {}).some((key) => key.startsWith(`${label}.`));
}

/** Whether a repository is known to have a blob or manifest that is in content. */
export async function isFrom(
  store: Store,
  { domain, path }: { domain: string; path: string },
  digest: Digest,
): Promise<boolean> {
  const info = await store.content.info(digest);
  return pathsOf(info?.labels[`${label}.${domain}`]).includes(path);
}

/**
 * Whether a manifest in content came from a name's repository, or the store has it under one of that repository's tags.
 */
export async function isKnownAs(store: Store, name: string, digest: Digest): Promise<boolean> {
  const { domain, path } = parseReference(name);
  const info = await store.content.info(digest);
  if (info === undefined) return false;
  if (pathsOf(info.labels[`${label}.${domain}`]).includes(path)) return true;
  for (const image of await store.images.of(digest)) {
    if (isDue()) await nextTurn();
    const other = referenceOf(image.name);
    if (other?.domain === domain && other.path === path) return true;
  }
  return false;
}

/** The repositories that a blob in content is known to be in, as whole names: `docker.io/library/busybox`. */
export async function repositoriesOf(store: Store, digest: Digest): Promise<string[]> {
  const info = await store.content.info(digest);
  return Object.entries(info?.labels ?? {}).flatMap(([key, text]) =>
    key.startsWith(`${label}.`) ? pathsOf(text).map((path) => `${key.slice(label.length + 1)}/${path}`) : [],
  );
}

function pathsOf(text: string | undefined): string[] {
  return text === undefined || text === '' ? [] : text.split(',');
}

/** Parses a record's name; undefined for a name that is no reference, which others may put into a containerd. */
export function referenceOf(name: string): Reference | undefined {
  try {
    return parseReference(name);
  } catch {
    return undefined;
  }
}
