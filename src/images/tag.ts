import { findImage } from '../distribution/index.ts';
import { fail } from '../errors/index.ts';
import { normalizeName, parseReference } from '../oci/index.ts';
import type { ImageRecord, Store } from '../store/index.ts';
import { nameImage } from './name.ts';

/**
 * Gives the image with the name or ID `source` another name. A name that is in use moves to this image. Throws
 * `not-found`, `conflict` (an ambiguous ID), `invalid` for a malformed name or one that reads like a digest.
 */
export async function tagImage(store: Store, source: string, name: string): Promise<ImageRecord> {
  const normalized = normalizeName(name);
  if (parseReference(normalized).digest !== undefined) {
    throw fail('invalid', 'client', `cannot tag as ${JSON.stringify(name)}: a tag cannot be a digest`);
  }
  const { record } = await findImage(store, source);
  return nameImage(store, normalized, record.target);
}
