/** Copies manifests, with all that they name, from one repository to another. */
import { parseIndex, parseManifest } from '../distribution/index.ts';
import { DrydockError, fail } from '../errors/index.ts';
import { Limiter } from '../flow/index.ts';
import { type Descriptor, isForeignLayer, isIndexType, isManifestType } from '../oci/index.ts';
import type { ReportStatus } from '../progress/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import type { RegistryContext } from './read.ts';

/** Indexes in indexes are followed this far. */
const deepest = 4;

/**
 * Copies manifests and indexes: blobs that the target has are left out, blobs of the same registry are mounted, others
 * stream from the one to the other, a few at a time. A manifest is put when all that it names is there. Throws the
 * errors of registries.
 */
export async function copyParts(
  client: RegistryClient,
  parts: readonly { descriptor: Descriptor; repository: string }[],
  target: string,
  ctx: RegistryContext,
  report: ReportStatus,
): Promise<void> {
  const copier = new Copier(client, target, ctx, report);
  await Promise.all(
    parts
      .filter(({ repository }) => repository !== target)
      .map(({ descriptor, repository }) => copier.copy(descriptor, repository, 0)),
  );
}

class Copier {
  readonly #client: RegistryClient;
  readonly #target: string;
  readonly #ctx: RegistryContext;
  readonly #report: ReportStatus;
  readonly #manifests = new Limiter(8);
  readonly #blobs = new Limiter(4);
  /** What is being copied, by digest: images share layers. */
  readonly #begun = new Map<string, Promise<void>>();

  constructor(client: RegistryClient, target: string, ctx: RegistryContext, report: ReportStatus) {
    this.#client = client;
    this.#target = target;
    this.#ctx = ctx;
    this.#report = report;
  }

  copy(descriptor: Descriptor, from: string, depth: number): Promise<void> {
    return this.#once(descriptor, () => this.#document(descriptor, from, depth));
  }

  async #document(descriptor: Descriptor, from: string, depth: number): Promise<void> {
    const { digest, mediaType } = descriptor;
    if (!isIndexType(mediaType) && !isManifestType(mediaType)) {
      throw fail(
        'unsupported',
        'registry',
        `${from}@${digest} is ${JSON.stringify(mediaType)}, which is no image`,
      );
    }
    if (depth > deepest)
      throw fail('exhausted', 'registry', `${from}@${digest}: indexes in indexes, too deep`);
    const { bytes } = await this.#manifests.run(async () => {
      if (await this.#isThere(digest)) return { bytes: undefined };
      return this.#client.manifest(`${from}@${digest}`, this.#ctx);
    });
    if (bytes === undefined) return;
    const origin = { name: `${from}@${digest}`, hop: 'registry' } as const;
    if (isIndexType(mediaType)) {
      const { manifests } = parseIndex(bytes, origin);
      await Promise.all(manifests.map((each) => this.copy(each, from, depth + 1)));
    } else {
      const { config, layers } = parseManifest(bytes, origin);
      const blobs = [config, ...layers].filter((each) => !isForeignLayer(each));
      await Promise.all(blobs.map((each) => this.#once(each, () => this.#blob(each, from))));
    }
    await this.#client.pushManifest(`${this.#target}@${digest}`, descriptor, bytes, this.#ctx);
  }

  #blob(blob: Descriptor, from: string): Promise<void> {
    return this.#blobs.run(async () => {
      const { digest, size } = blob;
      this.#report(digest, { current: 0, total: size });
      await this.#client.pushBlob(
        this.#target,
        blob,
        // The registry that takes the blob checks its digest.
        () => this.#client.blob(from, blob, { ...this.#ctx, unverified: true }),
        {
          ...this.#ctx,
          mountFrom: from,
          onProgress: (current) => this.#report(digest, { current, total: size }),
        },
      );
      this.#report(digest, { current: size, total: size, done: true });
    });
  }

  #once({ digest }: Descriptor, work: () => Promise<void>): Promise<void> {
    let begun = this.#begun.get(digest);
    if (begun === undefined) {
      begun = work();
      this.#begun.set(digest, begun);
    }
    return begun;
  }

  /** Whether the target has a manifest. A repository that is not there yet is often one that nobody may read. */
  async #isThere(digest: string): Promise<boolean> {
    try {
      await this.#client.resolve(`${this.#target}@${digest}`, this.#ctx);
      return true;
    } catch (err) {
      const absent = ['not-found', 'denied', 'unauthenticated'];
      if (err instanceof DrydockError && absent.includes(err.code)) return false;
      throw err;
    }
  }
}
