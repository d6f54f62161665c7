/** Opens the store that holds a root's images (the root's own, or a containerd's), and knows of the other one. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { defaultAddress, defaultNamespace, openLocalStore, ownRoot, type Store } from '../store/index.ts';
import type { StoreOptions } from './store-options.ts';

/**
 * Opens the store that the options name. Throws the errors of `openLocalStore` and `openContainerdStore`, among them
 * `unavailable` (hop `store`) with the remedy when no containerd answers.
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  ownRoot(options.root);
  const store = await openOnly(options);
  store.elsewhere = (name) => lookElsewhere(options, name);
  if (options.imageStore === 'containerd') remember(options);
  return store;
}

async function openOnly(options: StoreOptions): Promise<Store> {
  const { root, imageStore = 'local', snapshotter = 'auto', sync } = options;
  if (imageStore === 'local') return openLocalStore(root, { snapshotter, sync });
  const { openContainerdStore } = await import('../store/containerd/open.ts');
  return openContainerdStore({
    root,
    ...containerdOf(options),
    patience: options.containerdPatience,
    snapshotter: snapshotter === 'auto' ? undefined : snapshotter,
  });
}

/**
 * The address and the namespace of containerd, by the options. The address may be a URL (`unix:///run/…`), as docker
 * writes it.
 */
export function containerdOf(options: Pick<StoreOptions, 'containerdAddress' | 'containerdNamespace'>): {
  address: string;
  namespace: string;
} {
  const address = options.containerdAddress ?? defaultAddress;
  return {
    address: resolve(address.replace(/^unix:\/\//, '')),
    namespace: options.containerdNamespace ?? defaultNamespace,
  };
}

/** The folder of a root that the chosen store has to itself. It becomes the store's `Store.root`. */
export function stateFolder(options: StoreOptions): string {
  if (options.imageStore !== 'containerd') return options.root;
  return join(options.root, 'containerd', containerdOf(options).namespace);
}

/** Notes in the root which containerd it was used with last. The root's own store needs no note. */
function remember(options: StoreOptions): void {
  const text = `${JSON.stringify(containerdOf(options))}\n`;
  const path = notePath(options.root);
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  writeFileSync(`${path}.${process.pid}`, text, { mode: 0o600 });
  renameSync(`${path}.${process.pid}`, path);
}

function notePath(root: string): string {
  return join(root, 'containerd.json');
}

/** The options of the store that these options do not name; undefined when the root knows of no other store. */
export function otherStore(options: StoreOptions): StoreOptions | undefined {
  const { root } = options;
  if (options.imageStore === 'containerd') {
    return existsSync(join(root, 'store.db')) ? { root, imageStore: 'local' } : undefined;
  }
  try {
    const { address, namespace } = JSON.parse(readFileSync(notePath(root), 'utf8'));
    if (typeof address !== 'string' || typeof namespace !== 'string') return undefined;
    return { root, imageStore: 'containerd', containerdAddress: address, containerdNamespace: namespace };
  } catch {
    return undefined; // never used with containerd, or the note is no note
  }
}

/** The flags that choose a store. */
function storeFlags(options: StoreOptions): string {
  if (options.imageStore !== 'containerd') return '--image-store=local';
  const { address, namespace } = containerdOf(options);
  return [
    '--image-store=containerd',
    ...(address === defaultAddress ? [] : [`--containerd-address=${address}`]),
    ...(namespace === defaultNamespace ? [] : [`--containerd-namespace=${namespace}`]),
  ].join(' ');
}

/** How long an error message waits for an answer of the other store, in ms. */
const lookMs = 2_000;

/** A hint that tells where the image is, when the other store has it; undefined when it has not, or cannot be asked. */
async function lookElsewhere(options: StoreOptions, name: string): Promise<string | undefined> {
  const other = otherStore(options);
  if (other === undefined) return undefined;
  const enough = new AbortController();
  try {
    const late = sleep(lookMs, undefined, { signal: enough.signal, ref: false }).catch(() => undefined);
    return await Promise.race([lookInto(other, options, name), late]);
  } finally {
    enough.abort();
  }
}

async function lookInto(
  other: StoreOptions,
  options: StoreOptions,
  name: string,
): Promise<string | undefined> {
  let store: Store | undefined;
  try {
    store = await openOnly(other);
    if ((await store.images.get(name)) === undefined) return undefined;
    const here = options.imageStore ?? 'local';
    return (
      `It is in the ${other.imageStore} store: use ${storeFlags(other)}, or bring it here with ` +
      `\`drydock store migrate --from ${other.imageStore} --to ${here}\`.`
    );
  } catch {
    return undefined; // what cannot be asked has nothing to add
  } finally {
    await store?.close().catch(() => {});
  }
}
