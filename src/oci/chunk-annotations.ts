/** Annotations of layers whose files can be read one by one (eStargz, zstd:chunked). Pure. */
import type { Descriptor } from './types.ts';

const names = [
  'containerd.io/snapshot/stargz/toc.digest',
  'io.containers.estargz.uncompressed-size',
  'io.github.containers.zstd-chunked.manifest-checksum',
  'io.github.containers.zstd-chunked.manifest-position',
  'io.github.containers.zstd-chunked.tarsplit-position',
];
/** The longest value, in characters: digests and numbers. Longer ones are of somebody who means no good. */
const longest = 200;

/** The annotations that tell readers how to read a layer's files one by one; undefined when there are none. */
export function chunkAnnotations({ annotations = {} }: Pick<Descriptor, 'annotations'>) {
  const found = names.flatMap((name) => {
    const value: unknown = annotations[name];
    return typeof value === 'string' && value.length <= longest ? [[name, value] as const] : [];
  });
  return found.length === 0 ? undefined : Object.fromEntries(found);
}
