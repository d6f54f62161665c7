/**
 * Writes blobs: small ones at once, large ones by blocks. The account proves itself by its signer, or by the URL alone
 * (the Actions cache hands out such URLs). https://learn.microsoft.com/rest/api/storageservices/put-block-list
 */
import { randomBytes } from 'node:crypto';
import { type Part, partsOf, sendParts } from '../parts.ts';
import { readSome } from '../read-some.ts';
import type { RestClient } from '../rest.ts';
import { troubleOf } from '../trouble.ts';
import type { ObjectSource, PutOptions } from '../types.ts';
import { elements, text } from '../xml.ts';

/** A blob above this size goes by blocks. */
const onePiece = 16 << 20;
const leastBlock = 16 << 20;
const mostBlocks = 50_000;

interface BlobPut extends PutOptions {
  doing: string;
}

/**
 * Writes a blob, whole or not at all. Returns false when another writer has ended the same upload, with `sameBytes`
 * only.
 */
export async function putBlob(
  client: RestClient,
  url: URL,
  source: ObjectSource | Uint8Array,
  { doing, sameBytes = false, signal, onProgress }: BlobPut,
): Promise<boolean> {
  const size = source instanceof Uint8Array ? source.length : source.size;
  if (source instanceof Uint8Array || size <= onePiece) {
    const answer = await client.call({
      doing,
      method: 'PUT',
      url,
      headers: {
        'x-ms-blob-type': 'BlockBlob',
        'content-type': 'application/octet-stream',
        'content-length': String(size),
      },
      body: source instanceof Uint8Array ? source : () => source.open(0, size),
      ok: [201],
      signal,
    });
    answer.resume();
    onProgress?.(size);
    return true;
  }
  const parts = partsOf(size, leastBlock, mostBlocks);
  // All blocks of a blob have names of one length; writers of the same bytes name them alike.
  const writer = sameBytes ? `same-${size}` : randomBytes(8).toString('hex');
  const idOf = ({ number }: Part) =>
    Buffer.from(`${writer}-${String(number).padStart(6, '0')}`.padStart(40, '0')).toString('base64');
  const there = sameBytes ? await blocksThere(client, url, doing, parts, idOf, signal) : new Map();
  const ids = await sendParts(
    parts,
    there,
    async (part) => {
      const id = idOf(part);
      const answer = await client.call({
        doing,
        method: 'PUT',
        url: withQuery(url, { comp: 'block', blockid: id }),
        headers: { 'content-length': String(part.end - part.start) },
        body: () => source.open(part.start, part.end),
        ok: [201],
        signal,
      });
      answer.resume();
      return id;
    },
    onProgress,
  );
  const list = ids.map((id) => `<Latest>${id}</Latest>`).join('');
  const body = Buffer.from(`<?xml version="1.0" encoding="utf-8"?><BlockList>${list}</BlockList>`);
  try {
    const answer = await client.call({
      doing,
      method: 'PUT',
      url: withQuery(url, { comp: 'blocklist' }),
      headers: {
        'content-type': 'application/xml',
        'content-length': String(body.length),
        'x-ms-blob-content-type': 'application/octet-stream',
      },
      body,
      ok: [201],
      signal,
    });
    answer.resume();
    return true;
  } catch (err) {
    if (sameBytes && troubleOf(err) === 'not-found') return false;
    throw err;
  }
}

/** The blocks that another writer of the same bytes has sent. */
async function blocksThere(
  client: RestClient,
  url: URL,
  doing: string,
  parts: readonly Part[],
  idOf: (part: Part) => string,
  signal: AbortSignal | undefined,
): Promise<Map<number, string>> {
  const there = new Map<number, string>();
  try {
    const answer = await client.call({
      doing,
      method: 'GET',
      url: withQuery(url, { comp: 'blocklist', blocklisttype: 'uncommitted' }),
      ok: [200],
      signal,
    });
    const xml = (await readSome(answer, 16 << 20)).toString('utf8');
    const sizes = new Map(
      [...elements(xml, 'Block')].map((each) => [text(each, 'Name') ?? '', Number(text(each, 'Size'))]),
    );
    for (const part of parts) {
      const id = idOf(part);
      if (sizes.get(id) === part.end - part.start) there.set(part.number, id);
    }
    return there;
  } catch (err) {
    const trouble = troubleOf(err);
    // Nobody has begun; a SAS may write only.
    if (trouble === 'not-found' || trouble === 'forbidden' || trouble === 'unsupported') return there;
    throw err;
  }
}

export function withQuery(url: URL, params: Record<string, string>): URL {
  const made = new URL(url);
  for (const [name, value] of Object.entries(params)) made.searchParams.set(name, value);
  return made;
}
