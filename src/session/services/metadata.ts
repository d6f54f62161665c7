/** Values of a client's services as gRPC metadata, which is ASCII only. */
import type { Metadata } from '../grpc/channel.ts';

/**
 * Lists of text by key, as the file services read them: a list with anything but printable ASCII in it is
 * URL-encoded, and a key `…-encoded` says so.
 */
export function listMetadata(lists: Readonly<Record<string, readonly string[] | undefined>>): Metadata {
  const out: Metadata = {};
  for (const [key, values] of Object.entries(lists)) {
    if (values === undefined || values.length === 0) continue;
    // A space at either end would be trimmed on the way.
    const plain = values.every((value) => /^[\x20-\x7e]*$/.test(value) && value.trim() === value);
    out[key] = plain ? values : values.map(queryEscape);
    if (!plain) out[`${key}-encoded`] = '1';
  }
  return out;
}

/** As HTML forms escape: a space is `+`. */
function queryEscape(text: string): string {
  return new URLSearchParams({ '': text.toWellFormed() }).toString().slice(1);
}
