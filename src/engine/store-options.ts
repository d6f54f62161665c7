/** The choice of a store, in the words of flags and settings. This file opens nothing; `stores.ts` does. */
import { fail, nearest } from '../errors/index.ts';

export const imageStores = ['local', 'containerd'] as const;
export type ImageStore = (typeof imageStores)[number];

export const snapshotters = ['auto', 'overlayfs', 'native', 'stargz'] as const;
type Snapshotter = (typeof snapshotters)[number];

/** The choice of a store, and of the place of its data. */
export interface StoreOptions {
  /** The folder for all state. With containerd it holds all state that is not containerd's. */
  root: string;
  /** Default: `local`. */
  imageStore?: ImageStore;
  /** The path of containerd's socket. */
  containerdAddress?: string;
  containerdNamespace?: string;
  /** How long a call waits for a containerd that is restarting, in ms; default 10,000. */
  containerdPatience?: number;
  /**
   * Default `auto`: overlayfs where it works, or else plain copies. `stargz`: overlayfs, and of layers that can be read
   * file by file only the files that are read are fetched.
   */
  snapshotter?: Snapshotter;
  /**
   * Whether an image, with its layers, is on the disk when it has got its name; it then survives a power cut. The
   * default is no, because the build has to wait for everything that is being written to that disk. This is for the
   * local store; containerd syncs its content by itself.
   */
  sync?: boolean;
}

/** Reads the name of a store. Throws `invalid` for a name that no store has. */
export function parseImageStore(text: string): ImageStore {
  const found = imageStores.find((name) => name === text);
  if (found !== undefined) return found;
  const like = nearest(text, imageStores);
  throw fail('invalid', 'client', `unknown image store ${JSON.stringify(text)}: want local or containerd`, {
    hint: like && `Did you mean --image-store=${like}?`,
  });
}

/** Reads the name of a snapshotter. Throws `invalid` for one that there is not. */
export function parseSnapshotter(text: string): Snapshotter {
  const found = snapshotters.find((name) => name === text);
  if (found !== undefined) return found;
  const like = nearest(text, snapshotters);
  throw fail(
    'invalid',
    'client',
    `unknown snapshotter: ${JSON.stringify(text)}; want ${snapshotters.join(', ')}`,
    {
      hint: like && `Did you mean ${like}?`,
    },
  );
}
