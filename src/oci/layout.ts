/** Names in OCI layouts. https://github.com/opencontainers/image-spec/blob/main/image-layout.md */

/** The annotation with a manifest's name in an index: an image's tag, or a cache's. */
export const refNameAnnotation = 'org.opencontainers.image.ref.name';

/** The annotation with an image's full name, which containerd and buildx write. */
export const fullNameAnnotation = 'io.containerd.image.name';

/** The contents of the file `oci-layout`. */
export const layoutMark = { imageLayoutVersion: '1.0.0' };
