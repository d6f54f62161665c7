/** Names in OCI layouts. https://github.com/opencontainers/image-spec/blob/main/image-layout.md */

/** What a manifest is called in an index: an image's tag, a cache's. */
export const refNameAnnotation = 'org.opencontainers.image.ref.name';

/** An image's whole name, as containerd and buildx write it. */
export const fullNameAnnotation = 'io.containerd.image.name';

/** What the file `oci-layout` holds. */
export const layoutMark = { imageLayoutVersion: '1.0.0' };
