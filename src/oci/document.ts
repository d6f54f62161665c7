/** How large the documents of images (manifests, indexes, configs) may be: each is read at one go by who serves others. */
import { jsonExcess } from './json-size.ts';

/** Bytes: what registries take. */
export const maxBytes = 4 << 20;
/** Reading 70,000 different names takes some 25 ms. All ports of an EXPOSE are 65,535. */
const most = { depth: 64, values: 300_000, names: 70_000, items: 140_000 };

/** Why a JSON document is too large to be an image's; undefined when it is not. Whether it is JSON at all is not looked at. */
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
