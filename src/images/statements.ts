/** What is stated of an image: the in-toto statements that its index has beside it. */
import { checkSubject, findImageFor, storedAttestations } from '../distribution/index.ts';
import { fail } from '../errors/index.ts';
import type { Descriptor, Platform } from '../oci/index.ts';
import type { Store } from '../store/index.ts';
import { runTask } from '../workers/index.ts';

/** One statement about an image. */
interface ImageStatement {
  descriptor: Descriptor;
  predicateType: string;
  /** Reads the statement: JSON. Throws `corrupt` when it is none, `exhausted` when it has more than 40 MiB. */
  read(signal?: AbortSignal): Promise<Buffer>;
}

const maxStatement = 40 << 20;

/**
 * Lists the statements about the image of a name or an ID, for a platform (default: the one that the host runs).
 * `types`: types of the predicates that are wanted; empty: all. Throws as `findImage` does, and `not-found` when the
 * image is not here for the platform.
 */
export async function imageStatements(
  store: Store,
  nameOrId: string,
  { platform, types = [] }: { platform?: Platform; types?: readonly string[] } = {},
): Promise<ImageStatement[]> {
  const { record, image } = await findImageFor(store, nameOrId, platform);
  const found = await storedAttestations(store, record.name, record.target);
  const stated = found.filter(({ about }) => about === image.manifest.digest);
  for (const each of stated) checkSubject(each, { name: nameOrId, hop: 'store' });
  const layers = stated.flatMap(({ document }) => document.layers);
  return layers.flatMap((descriptor) => {
    const predicateType = descriptor.annotations?.['in-toto.io/predicate-type'];
    if (predicateType === undefined || (types.length > 0 && !types.includes(predicateType))) return [];
    const read = (signal?: AbortSignal) => statementOf(store, nameOrId, descriptor, signal);
    return [{ descriptor, predicateType, read }];
  });
}

async function statementOf(
  store: Store,
  name: string,
  { digest, size }: Descriptor,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  if (size > maxStatement) {
    throw fail(
      'exhausted',
      'store',
      `${name}: the statement ${digest} has ${size} bytes, more than ${maxStatement}`,
    );
  }
  const bytes = await store.content.bytes(digest);
  try {
    return Buffer.from(await runTask('attest.predicate', { from: { bytes } }, { signal }));
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw fail('corrupt', 'store', `${name}: the statement ${digest} is no JSON`, { cause });
  }
}
