/** What the manifests in a folder need of its blobs. Blobs are named by the hexadecimal digits of their digests. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readOrdinary } from '../linux/index.ts';
import { type Digest, hex } from '../oci/index.ts';

/** The largest document that is looked into, in bytes. */
const maxDocument = 64 << 20;

/** The parts of manifests and indexes that name blobs. */
interface Names {
  config?: { digest: Digest };
  layers?: readonly { digest: Digest }[];
  /** In the index of a cache, also its layers and its config. */
  manifests?: readonly { digest: Digest; mediaType?: string }[];
}

/**
 * The blobs that manifests and indexes name, directly or not, they themselves among them. Throws the error of reading
 * when one of the documents cannot be read: what it needs is not known then.
 */
export async function blobsNamed(dir: string, documents: readonly Digest[]): Promise<Set<string>> {
  const named = new Set<string>();
  const note = async (digest: Digest): Promise<void> => {
    if (named.has(hex(digest))) return;
    const file = blobFile(dir, hex(digest));
    const bytes = await readOrdinary(file, maxDocument);
    const { config, layers = [], manifests = [] } = JSON.parse(bytes.toString('utf8')) as Names;
    named.add(hex(digest));
    for (const each of [config, ...layers]) if (each !== undefined) named.add(hex(each.digest));
    for (const { digest: each, mediaType = '' } of manifests) {
      if (/manifest|index/.test(mediaType)) await note(each);
      else named.add(hex(each));
    }
  };
  for (const digest of documents) await note(digest);
  return named;
}

/** The path of a blob. */
export function blobFile(dir: string, blob: string): string {
  return join(dir, 'blobs', 'sha256', blob);
}

/** The blobs that a folder has. */
export async function blobsIn(dir: string): Promise<string[]> {
  return (await readdir(join(dir, 'blobs', 'sha256'))).filter((name) => /^[0-9a-f]{64}$/.test(name));
}
