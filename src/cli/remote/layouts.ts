/**
 * The OCI layouts that a build at a daemon reads and writes: stores of the session, whose folders are here. This side
 * reads and writes the names of the blobs in them.
 */

import type { BuildResult, OutputSpec } from '../../engine/index.ts';
import { fail } from '../../errors/index.ts';
import { nameInLayout } from '../../exporter/index.ts';
import {
  type Descriptor,
  fullNameAnnotation,
  normalizeName,
  parseReference,
  refNameAnnotation,
} from '../../oci/index.ts';
import { ImageLayout } from '../../source/index.ts';

interface ServedLayouts {
  /** The build's named contexts; those of layouts have the digests that their tags name now. */
  contexts: Record<string, string>;
  /** A store's ID (`oci:NAME`) → its folder. */
  stores: Record<string, string>;
}

/** Makes the stores. Throws `not-found` when a folder is no OCI layout, or has no image of that tag. */
export async function servedLayouts(
  namedContexts: Readonly<Record<string, string>>,
  locals: Readonly<Record<string, string>>,
): Promise<ServedLayouts> {
  const contexts: Record<string, string> = { ...namedContexts };
  const stores: Record<string, string> = {};
  for (const [name, value] of Object.entries(namedContexts)) {
    if (!value.startsWith('oci-layout://')) continue;
    const ref = parseReference(value.slice('oci-layout://'.length));
    // A store's name has no host: it is all path, as parsed.
    const store = ref.path.replace(/^library\//, '');
    const dir = locals[store];
    if (dir === undefined) throw fail('not-found', 'client', `there is no OCI layout ${store}`);
    // Daemons ask a client's store by digest alone.
    const { digest } = await ImageLayout.inFolder(dir).target(ref);
    contexts[name] = `oci-layout://${store}@${digest}`;
    stores[`oci:${store}`] = dir;
  }
  return { contexts, stores };
}

/** The daemons' name of the store that an output's blobs go to. */
const outputStore = 'export';

/**
 * Takes the image that a build writes as a folder (`type=oci,tar=false`). Daemons know one such output in a session.
 */
export class LayoutOutput {
  readonly stores: Record<string, string> = {};
  readonly #dir: string | undefined;
  readonly #tags: readonly string[];

  /** Throws `unsupported` for outputs that a daemon cannot send. */
  constructor(outputs: readonly OutputSpec[], tags: readonly string[]) {
    const wanted = outputs.flatMap(({ type, sink }) =>
      sink !== undefined && 'files' in sink && typeof sink.files === 'string' && type !== 'local'
        ? [{ type, dir: sink.files }]
        : [],
    );
    const [first, second] = wanted;
    if (first?.type === 'docker' || second !== undefined) {
      throw fail(
        'unsupported',
        'client',
        first?.type === 'docker'
          ? "a daemon does not write docker's archives as folders"
          : 'a daemon writes one image as a folder',
        { hint: 'Leave tar=false out, or build without --host.' },
      );
    }
    this.#dir = first?.dir;
    this.#tags = tags;
    if (first !== undefined) this.stores[outputStore] = first.dir;
  }

  /** Names the image in the folder. */
  async finish({ descriptor }: BuildResult): Promise<void> {
    if (this.#dir === undefined || descriptor === undefined) return;
    const names = this.#tags.map(normalizeName);
    await nameInLayout(
      this.#dir,
      names.length === 0 ? [descriptor] : names.map((name) => named(descriptor, name)),
    );
  }
}

function named(descriptor: Descriptor, name: string): Descriptor {
  const { tag } = parseReference(name);
  const annotations: Record<string, string> = { [fullNameAnnotation]: name, ...descriptor.annotations };
  if (tag !== undefined) annotations[refNameAnnotation] = tag;
  return { ...descriptor, annotations };
}
