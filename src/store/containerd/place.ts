/** Where a containerd is found unless something else is said; apart from the store, which is slow to load. */
export const defaultAddress = '/run/containerd/containerd.sock';
/** Docker's own namespace, so that its images are ours and ours are its. */
export const defaultNamespace = 'moby';
