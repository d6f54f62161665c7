import { join } from 'node:path';
import type { Cache } from '../cache/index.ts';
import { DrydockError, fail } from '../errors/index.ts';
import { type ContentSelector, missing, openView, type ViewSpec } from '../fs/index.ts';
import type { Digest } from '../oci/index.ts';
import type { Ref, Store } from '../store/index.ts';
import { runTask } from '../workers/index.ts';
import { refContext } from './ref-context.ts';
import type { WorkContext } from './types.ts';

/** File under the store's root that remembers digests of files in clients' folders. */
function statDbPath(store: Store): string {
  return join(store.root, 'stat.db');
}

/**
 * The digest of the selected parts of a tree: names, types, modes, owners, links, file capabilities and bytes, but
 * no times. Remembered for trees that are in the store, and for states of clients' folders that have a stamp; for other folders of
 * theirs, file by file, in the stat cache.
 * Throws `not-found` when a selected path is not there. `onRead` is told how many bytes of a client's folder it covers.
 */
export async function contentDigest(
  deps: { store: Store; cache: Cache; listDb?: string },
  ref: Ref,
  selectors: readonly ContentSelector[],
  ctx: WorkContext,
  onRead: (bytes: number) => void = () => {},
): Promise<Digest> {
  const stored = ref.serialize() !== undefined;
  const lasting = stored || ref.lasting === true;
  const selector = JSON.stringify(selectors);
  const remembered = lasting ? deps.cache.contentDigest(ref.id, selector) : undefined;
  if (remembered !== undefined) return remembered;
  const { signal } = ctx;
  const spec = await ref.view(refContext(ctx));
  const args = { spec, selectors: [...selectors], statDb: statDbPath(deps.store), listDb: deps.listDb };
  try {
    const { digest, bytes } = await runTask('fs.checksum', args, { signal });
    if (lasting) deps.cache.putContentDigest(ref.id, selector, digest);
    if (!stored) onRead(bytes);
    return digest;
  } catch (err) {
    throw notFound(err, ref, spec);
  }
}

/**
 * The names that BuildKit's caches may have for the selected parts of a tree, today's first. None when they are not
 * there, or BuildKit's name would not tell them from others. Remembered as `contentDigest` is.
 */
export async function contentSums(
  deps: { store: Store; cache: Cache },
  ref: Ref,
  selectors: readonly ContentSelector[],
  ctx: WorkContext,
): Promise<readonly Digest[]> {
  const lasting = ref.serialize() !== undefined || ref.lasting === true;
  const keys = ['sum', 'sum before'].map((form) => `${form} ${JSON.stringify(selectors)}`);
  const known = lasting ? keys.map((key) => deps.cache.contentDigest(ref.id, key)) : [];
  if (known[0] !== undefined) return known.filter((sum) => sum !== undefined);
  const { signal } = ctx;
  const spec = await ref.view(refContext(ctx));
  const args = { spec, selectors: [...selectors], statDb: statDbPath(deps.store) };
  const sums = await runTask('fs.sum', args, { signal });
  if (lasting) {
    for (const [i, sum] of sums.entries()) deps.cache.putContentDigest(ref.id, keys[i] as string, sum);
  }
  return sums;
}

/** A missing path in the words BuildKit uses for it; any other error as it is. */
function notFound(err: unknown, ref: Ref, spec: ViewSpec): unknown {
  if (!(err instanceof DrydockError) || err.code !== 'not-found') return err;
  const { details } = err;
  const said = isEmpty(ref) ? `${details?.path ?? '/'}: no such file or directory` : err.message;
  return fail(
    'not-found',
    'file',
    `failed to compute cache key: failed to calculate checksum of ref ${ref.id}: ${said}`,
    { hint: err.hint ?? hintOf(spec, details?.path), details, cause: err },
  );
}

function isEmpty(ref: Ref): boolean {
  const form = ref.serialize();
  return form?.kind === 'empty' || (form?.kind === 'image' && form.layers.length === 0);
}

/** What may have been meant, looked for in all of a client's folder and not only in what this build asked of it. */
function hintOf(spec: ViewSpec, path: unknown): string | undefined {
  if (spec.kind !== 'folder' || typeof path !== 'string') return undefined;
  if (spec.includes === undefined && spec.followPaths === undefined) return undefined;
  const { dir, rootOwned, excludes } = spec;
  const whole: ViewSpec = { kind: 'folder', dir, rootOwned, excludes };
  try {
    return missing(openView(whole), whole, path).hint;
  } catch {
    return undefined;
  }
}
