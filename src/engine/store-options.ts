/** How a store is chosen: the words of flags and settings. Opens nothing: `stores.ts` does. */
import { fail, nearest } from '../errors/index.ts';

export const imageStores = ['local', 'containerd'] as const;
export type ImageStore = (typeof imageStores)[number];

export interface StoreOptions {
  /** Folder for all state; with containerd, for all that is not containerd's. */
  root: string;
  /** Default `local`. */
  imageStore?: ImageStore;
  /** Path of containerd's socket. */
  containerdAddress?: string;
  containerdNamespace?: string;
  /** How long a call waits for a containerd that is restarting, ms; default 10,000. */
  containerdPatience?: number;
  /** Default `auto`: overlayfs where it works, else plain copies. */
  snapshotter?: 'overlayfs' | 'native' | 'auto';
  /**
   * Whether an image is on the disk, its layers and all, when it has got its name: it then survives a power cut. Off
   * by default, for it waits for everything that is being written to that disk. For the local store; containerd syncs
   * what it takes by itself.
   */
  sync?: boolean;
}

/** Throws `invalid` for a store that there is not. */
export function parseImageStore(text: string): ImageStore {
  const found = imageStores.find((name) => name === text);
  if (found !== undefined) return found;
  const like = nearest(text, imageStores);
  throw fail('invalid', 'client', `unknown image store ${JSON.stringify(text)}: want local or containerd`, {
    hint: like && `Did you mean --image-store=${like}?`,
  });
}
