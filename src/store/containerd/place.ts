/** The default address of a containerd. It is apart from the store, which is slow to load. */
export const defaultAddress = '/run/containerd/containerd.sock';
/** Docker's own namespace: its images are ours, and ours are its. */
export const defaultNamespace = 'moby';
