/** Values of a client's services as gRPC metadata. */
import type { Metadata } from '../../grpc/index.ts';
import { bytesOf, nameOf, nameOfEscaped } from '../../linux/index.ts';

/**
 * Lists of text by key, in the form that the file services read. All bytes go as they are, which clients of all ages
 * take. A list that no header can carry is URL-encoded, and a key `…-encoded` says so to clients that know it (BuildKit
 * since 0.9).
 */
export function listMetadata(lists: Readonly<Record<string, readonly string[] | undefined>>): Metadata {
  const out: Metadata = {};
  for (const [key, values] of Object.entries(lists)) {
    if (values === undefined || values.length === 0) continue;
    // A space at either end would be trimmed on the way.
    const plain = values.every((value) => !/[\x00-\x1f\x7f]/.test(value) && value.trim() === value);
    // Node writes a header's characters as bytes.
    out[key] = values.map((value) => (plain ? bytesOf(value).toString('latin1') : queryEscape(value)));
    if (!plain) out[`${key}-encoded`] = '1';
  }
  return out;
}

/** Escapes as HTML forms do: a space becomes `+`, and every byte but letters, digits and `*-._` becomes its code. */
function queryEscape(text: string): string {
  return bytesOf(text)
    .toString('latin1')
    .replace(/[^\w*.-]/g, (char) =>
      char === ' ' ? '+' : `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
    );
}

/**
 * Decodes a list in the metadata of a received call. `rawHeaders` are names and values in turn, as they came. Throws
 * URIError when the list cannot be decoded.
 */
export function listOf(rawHeaders: readonly string[], key: string): string[] | undefined {
  const all = (name: string) => rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1] === name);
  const values = all(key);
  if (values.length === 0) return undefined;
  if (all(`${key}-encoded`)[0] === '1') {
    return values.map((text) => nameOfEscaped(text.replaceAll('+', ' ')));
  }
  return values.map((text) => nameOf(Buffer.from(text, 'latin1')));
}
