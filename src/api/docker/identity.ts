/** docker's Identity of an image: where the store knows it to be from. */
import type { Reach } from '../../auth/index.ts';
import { repositoriesOf } from '../../distribution/index.ts';
import type { Descriptor, Digest } from '../../oci/index.ts';
import { familiarName } from '../../oci/index.ts';
import type { Store } from '../../store/index.ts';
import type { ApiHost } from '../shared/host.ts';
import type { MadeBy } from '../shared/recording.ts';

/** The fields that are known; none is empty. */
interface Identity {
  /** The repositories that the image was pulled from or pushed to. */
  Pull?: { Repository: string }[];
  /** The builds of the caller's that made it, and that the history still has. */
  Build?: { Ref: string; CreatedAt: string }[];
}

/** Tells the identities of images, reading the history of builds once. */
export class Identities {
  readonly #store: Store;
  readonly #builds: Promise<ReadonlyMap<string, readonly MadeBy[]>>;

  constructor({ engine, buildsByResult }: ApiHost, reach: Reach) {
    this.#store = engine.store;
    this.#builds = buildsByResult?.(reach) ?? Promise.resolve(new Map());
    this.#builds.catch(() => {}); // told where it is awaited
  }

  /** The identity of a manifest, its image's ID (the config's digest) and the index that it was found in. */
  async of(manifest: Descriptor, id: Digest, target: Descriptor): Promise<Identity | undefined> {
    const digests = new Set([manifest.digest, target.digest]);
    const names = await Promise.all([...digests].map((digest) => repositoriesOf(this.#store, digest)));
    const repositories = [...new Set(names.flat().map(familiarName))].sort();
    const builds = await this.#builds;
    const made = new Map(
      [...digests, id].flatMap((digest) => builds.get(digest) ?? []).map((build) => [build.ref, build]),
    );
    const identity: Identity = {};
    if (repositories.length > 0) identity.Pull = repositories.map((Repository) => ({ Repository }));
    if (made.size > 0) {
      identity.Build = [...made.values()].map(({ ref, createdAt }) => ({
        Ref: ref,
        CreatedAt: new Date(createdAt).toISOString(),
      }));
    }
    return Object.keys(identity).length === 0 ? undefined : identity;
  }
}
