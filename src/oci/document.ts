/**
 * The limits on an image's documents (manifests, indexes, configs): each is parsed in one go by a process that serves
 * others.
 */
import { jsonExcess } from './json-size.ts';

/** The largest document in bytes, which is the limit of registries. */
export const maxBytes = 4 << 20;
/** Parsing 70,000 different names takes some 25 ms. An EXPOSE of all ports has 65,535. */
const most = { depth: 64, values: 300_000, names: 70_000, items: 140_000 };

/**
 * The reason why a JSON document is too large to be an image's; undefined when it is not. It need not be valid JSON.
 */
export function documentExcess(bytes: Uint8Array): string | undefined {
  if (bytes.length > maxBytes) return `${bytes.length} bytes, more than ${maxBytes >> 20} MiB`;
  const excess = jsonExcess(
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1'),
    most,
  );
  if (excess === undefined) return undefined;
  return excess === 'depth'
    ? `lists in lists, more than ${most.depth} deep`
    : `more than ${most[excess]} ${excess}`;
}
