/**
 * Large objects, which S3 takes in parts. https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
 */
import { throwIfAborted } from '../../errors/index.ts';
import { keyPath } from '../keys.ts';
import { type Part, partsOf, sendParts } from '../parts.ts';
import { readSome } from '../read-some.ts';
import type { RestCall, RestClient } from '../rest.ts';
import { isPassing, refused, troubleOf } from '../trouble.ts';
import type { ObjectCall, ObjectSource, PutOptions } from '../types.ts';
import { elements, escapeXml, text } from '../xml.ts';
import { s3Refusal } from './refusals.ts';

/** S3's limits: 10,000 parts, none but the last below 5 MiB. */
const leastPart = 8 << 20;
const mostParts = 10_000;
/** The size of the parts of a copy, bytes. */
const copiedPart = 512 << 20;
const maxAnswer = 8 << 20;

interface Upload {
  id: string;
  /** By number: the ETags of the parts that are there. */
  parts: Map<number, string>;
}

export class S3Uploads {
  readonly #name: string;
  readonly #bucket: string;
  readonly #url: (key: string) => URL;
  readonly #client: RestClient;

  constructor(name: string, bucket: string, url: (key: string) => URL, client: RestClient) {
    this.#name = name;
    this.#bucket = bucket;
    this.#url = url;
    this.#client = client;
  }

  /** Sends an object. False when the upload is gone in the end: somebody has ended it, or given it up. */
  async send(
    key: string,
    source: ObjectSource,
    { sameBytes = false, signal, onProgress }: PutOptions,
  ): Promise<boolean> {
    const parts = partsOf(source.size, leastPart, mostParts);
    const begun = sameBytes ? await this.#unfinished(key, parts, signal) : undefined;
    const upload = begun ?? { id: await this.#begin(key, signal), parts: new Map<number, string>() };
    try {
      const etags = await sendParts(
        parts,
        upload.parts,
        (part) => this.#part(key, upload.id, part, source, signal),
        onProgress,
      );
      await this.#complete(key, upload.id, etags, signal);
      return true;
    } catch (err) {
      const trouble = troubleOf(err);
      if (trouble === 'not-found' && sameBytes) return false;
      // What can be gone on with later stays.
      if (!sameBytes || !(signal?.aborted || isPassing(trouble))) await this.#abort(key, upload.id);
      throw err;
    }
  }

  /** Copies a large object onto itself. */
  async copyOnto(key: string, size: number, { signal }: ObjectCall): Promise<void> {
    const id = await this.#begin(key, signal);
    try {
      const etags = await sendParts(
        partsOf(size, copiedPart, mostParts),
        new Map(),
        async ({ number, start, end }) => {
          const xml = await this.document({
            doing: `touching ${key}`,
            method: 'PUT',
            url: this.#query(key, { partNumber: String(number), uploadId: id }),
            headers: {
              'content-length': '0',
              'x-amz-copy-source': this.copySource(key),
              'x-amz-copy-source-range': `bytes=${start}-${end - 1}`,
            },
            body: new Uint8Array(),
            ok: [200],
            signal,
          });
          return text(xml, 'ETag') ?? '';
        },
        undefined,
      );
      await this.#complete(key, id, etags, signal);
    } catch (err) {
      await this.#abort(key, id);
      throw err;
    }
  }

  /** Gives up the uploads that were begun some time ago. */
  async abortOlder(prefix: string, olderThan: number, signal: AbortSignal | undefined): Promise<number> {
    const before = Date.now() - olderThan;
    const old = (await this.#list(prefix, signal)).filter(({ begun }) => begun <= before);
    for (const { key, id } of old) {
      throwIfAborted(signal);
      await this.#abort(key, id);
    }
    return old.length;
  }

  copySource(key: string): string {
    // Some services leave an escaped colon as it is, and keys with digests have one.
    return `/${this.#bucket}/${keyPath(key).replaceAll('%3A', ':')}`;
  }

  /** An answer in XML. A 200 may tell of a failure in it; one that passes is asked for again. */
  async document(call: RestCall, max = maxAnswer): Promise<string> {
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#client.call(call);
      const xml = (await readSome(answer, max)).toString('utf8');
      if (!/^\s*(<\?xml[^>]*>)?\s*<Error[\s>]/.test(xml)) return xml;
      const refusal = s3Refusal(200, answer.headers, xml);
      const known = refusal.trouble === 'other' ? { ...refusal, trouble: 'temporary' as const } : refusal;
      if (!isPassing(known.trouble) || attempt >= this.#client.tries) {
        throw refused(`${call.doing} of ${this.#name}`, 200, known);
      }
      await this.#client.pause(attempt, call.signal);
    }
  }

  async #begin(key: string, signal: AbortSignal | undefined): Promise<string> {
    const xml = await this.document({
      doing: `writing ${key}`,
      method: 'POST',
      url: this.#query(key, { uploads: '' }),
      headers: { 'content-type': 'application/octet-stream' },
      body: new Uint8Array(),
      ok: [200],
      signal,
    });
    return text(xml, 'UploadId') ?? '';
  }

  async #part(
    key: string,
    id: string,
    { number, start, end }: Part,
    source: ObjectSource,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const answer = await this.#client.call({
      doing: `writing ${key}`,
      method: 'PUT',
      url: this.#query(key, { partNumber: String(number), uploadId: id }),
      headers: { 'content-length': String(end - start) },
      body: () => source.open(start, end),
      ok: [200],
      signal,
    });
    answer.resume();
    return answer.headers.etag ?? '';
  }

  async #complete(
    key: string,
    id: string,
    etags: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const parts = etags.map(
      (etag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${escapeXml(etag)}</ETag></Part>`,
    );
    await this.document({
      doing: `writing ${key}`,
      method: 'POST',
      url: this.#query(key, { uploadId: id }),
      headers: { 'content-type': 'application/xml' },
      body: Buffer.from(
        `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${parts.join('')}</CompleteMultipartUpload>`,
      ),
      ok: [200],
      signal,
    });
  }

  async #abort(key: string, id: string): Promise<void> {
    const url = this.#query(key, { uploadId: id });
    const ok = [200, 204, 404];
    try {
      (
        await this.#client.call({ doing: `giving up ${key}`, method: 'DELETE', url, ok, once: true })
      ).resume();
    } catch {
      // The service does not know this operation, or has trouble: the bucket's own rules clean up.
    }
  }

  /** The upload of this key that has the most parts as we would cut them; undefined when there is none. */
  async #unfinished(
    key: string,
    parts: readonly Part[],
    signal: AbortSignal | undefined,
  ): Promise<Upload | undefined> {
    let best: Upload | undefined;
    const uploads = (await this.#list(key, signal)).filter((each) => each.key === key);
    for (const { id } of uploads.slice(0, 4)) {
      const found = { id, parts: await this.#partsThere(key, id, parts, signal) };
      if (found.parts.size > (best?.parts.size ?? 0)) best = found;
    }
    return best;
  }

  async #partsThere(
    key: string,
    id: string,
    parts: readonly Part[],
    signal: AbortSignal | undefined,
  ): Promise<Map<number, string>> {
    const there = new Map<number, string>();
    let after = '0';
    for (;;) {
      const url = this.#query(key, { uploadId: id, 'part-number-marker': after });
      const xml = await this.document({
        doing: `looking for ${key}`,
        method: 'GET',
        url,
        ok: [200],
        signal,
      }).catch((err: unknown) => {
        if (troubleOf(err) === 'not-found') return '';
        throw err;
      });
      for (const each of elements(xml, 'Part')) {
        const number = Number(text(each, 'PartNumber'));
        const part = parts[number - 1];
        const etag = text(each, 'ETag');
        if (part && etag !== undefined && Number(text(each, 'Size')) === part.end - part.start)
          there.set(number, etag);
      }
      const next = text(xml, 'NextPartNumberMarker');
      if (text(xml, 'IsTruncated') !== 'true' || next === undefined || next === after) return there;
      after = next;
    }
  }

  /** The unfinished uploads; none for a service that does not list them. */
  async #list(
    prefix: string,
    signal: AbortSignal | undefined,
  ): Promise<{ key: string; id: string; begun: number }[]> {
    const found: { key: string; id: string; begun: number }[] = [];
    let marker: Record<string, string> = {};
    for (let page = 0; page < 100; page++) {
      const url = this.#bucketQuery({ uploads: '', prefix, ...marker });
      let xml: string;
      try {
        xml = await this.document({
          doing: `looking for uploads of ${prefix}*`,
          method: 'GET',
          url,
          ok: [200],
          signal,
        });
      } catch (err) {
        const trouble = troubleOf(err);
        if (trouble === 'unsupported' || trouble === 'forbidden' || trouble === 'not-found') return found;
        throw err;
      }
      for (const each of elements(xml, 'Upload')) {
        const key = text(each, 'Key');
        const id = text(each, 'UploadId');
        if (key === undefined || id === undefined || !key.startsWith(prefix)) continue;
        found.push({ key, id, begun: Date.parse(text(each, 'Initiated') ?? '') || Date.now() });
      }
      const nextKey = text(xml, 'NextKeyMarker');
      if (text(xml, 'IsTruncated') !== 'true' || nextKey === undefined) return found;
      marker = { 'key-marker': nextKey, 'upload-id-marker': text(xml, 'NextUploadIdMarker') ?? '' };
    }
    return found;
  }

  #query(key: string, params: Record<string, string>): URL {
    const url = this.#url(key);
    for (const [name, value] of Object.entries(params)) url.searchParams.set(name, value);
    return url;
  }

  #bucketQuery(params: Record<string, string>): URL {
    return this.#query('', params);
  }
}
