/** Annotations of layers whose files can be read one by one (eStargz, zstd:chunked). Pure. */

/** An eStargz's: the digest of its table of contents, and the size of the whole decompressed blob. */
export const estargzAnnotations = {
  tocDigest: 'containerd.io/snapshot/stargz/toc.digest',
  uncompressedSize: 'io.containers.estargz.uncompressed-size',
} as const;
/** A zstd:chunked's: the digest of its packed table of contents, and where the table and the archive's split are. */
export const zstdChunkedAnnotations = {
  manifestChecksum: 'io.github.containers.zstd-chunked.manifest-checksum',
  manifestPosition: 'io.github.containers.zstd-chunked.manifest-position',
  tarSplitPosition: 'io.github.containers.zstd-chunked.tarsplit-position',
} as const;
/** The same under the names that nerdctl and ctr-remote give them. */
export const zstdChunkedOtherNames = {
  manifestChecksum: 'io.containers.zstd-chunked.manifest-checksum',
  manifestPosition: 'io.containers.zstd-chunked.manifest-position',
} as const;
const names = [estargzAnnotations, zstdChunkedAnnotations, zstdChunkedOtherNames].flatMap((each) =>
  Object.values(each),
);
/** The longest value, in characters: digests and numbers. Longer ones are of somebody who means no good. */
const longest = 200;

/** The annotations that tell readers how to read a layer's files one by one; undefined when there are none. */
export function chunkAnnotations({ annotations = {} }: { annotations?: Readonly<Record<string, unknown>> }) {
  const found = names.flatMap((name) => {
    const value = annotations[name];
    return typeof value === 'string' && value.length <= longest ? [[name, value] as const] : [];
  });
  return found.length === 0 ? undefined : Object.fromEntries(found);
}
