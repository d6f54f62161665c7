/** Output and JSON without the secrets of a build. Pure, and without protobuf. */
import { hidden, looksSecret, type Masks } from '../errors/index.ts';

/** Masks pieces of one output at their lengths. A secret that was printed in pieces is found as well. */
export function maskedPieces(pieces: readonly Uint8Array[], masks: Masks): Uint8Array<ArrayBuffer>[] {
  const masked = masks.bytes(Buffer.concat(pieces));
  let at = 0;
  return pieces.map(({ length }) => {
    const from = at;
    at += length;
    return masked.subarray(from, at);
  });
}

/** The fields of details' messages that hold bytes, in base64: files and ops. */
const bytesFields = new Set(['data', 'def']);

/** Masks all texts of a JSON value, bytes in base64 among them. `field` is the name that the value has. */
export function maskedJson(value: unknown, field: string, masks: Masks): unknown {
  if (typeof value === 'string') {
    if (bytesFields.has(field)) {
      return Buffer.from(masks.bytes(Buffer.from(value, 'base64'))).toString('base64');
    }
    const name = /^[A-Za-z_][A-Za-z0-9_]*(?==.)/.exec(value)?.[0];
    if (field === 'env' && name !== undefined && looksSecret(name)) return `${name}=${hidden}`;
    return masks.text(value);
  }
  if (Array.isArray(value)) return value.map((each) => maskedJson(each, field, masks));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [name, maskedJson(each, name, masks)]),
  );
}
