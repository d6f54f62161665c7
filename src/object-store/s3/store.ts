/**
 * Objects in a bucket of S3, or of a service that speaks its protocol.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
 */
import { createHash } from 'node:crypto';
import { inParallel } from '../../flow/index.ts';
import type { HttpResponse } from '../../registry/index.ts';
import { checkKey } from '../keys.ts';
import { type RestCall, RestClient, type RestOptions } from '../rest.ts';
import { resuming } from '../resuming.ts';
import { refused, troubled, troubleOf } from '../trouble.ts';
import type {
  GetOptions,
  ListOptions,
  ObjectBody,
  ObjectCall,
  ObjectInfo,
  ObjectSource,
  ObjectStore,
  PutOptions,
} from '../types.ts';
import { elements, escapeXml, text } from '../xml.ts';
import { type BucketPlace, bucketUrl } from './place.ts';
import { s3Refusal } from './refusals.ts';
import { type AwsKeySource, S3Signer } from './signer.ts';
import { S3Uploads } from './uploads.ts';

/** An object above this size is sent in parts; S3 copies no larger one in one piece either way than `mostCopied`. */
const onePiece = 16 << 20;
/** 5 GiB, S3's limit. */
const mostCopied = 5 * 2 ** 30;
/** The longest list of 1,000 objects, in bytes. */
const maxAnswer = 8 << 20;
/** How many objects one request removes. */
const together = 1000;

type S3Options = BucketPlace & Pick<RestOptions, 'tries' | 'backoffMs' | 'idleMs' | 'adaptive'>;

export class S3Store implements ObjectStore {
  readonly name: string;
  readonly #url: (key: string) => URL;
  readonly #client: RestClient;
  readonly #uploads: S3Uploads;

  /** Throws `invalid` for a place that is none. */
  constructor({ bucket, region, endpoint, pathStyle, ...rest }: S3Options, keys: AwsKeySource) {
    this.name = `s3://${bucket}`;
    this.#url = bucketUrl({ bucket, region, endpoint, pathStyle });
    const client = new RestClient({
      ...rest,
      name: this.name,
      signer: new S3Signer(keys, region),
      understand: s3Refusal,
    });
    this.#client = client;
    this.#uploads = new S3Uploads(this.name, bucket, this.#url, client);
  }

  close(): void {
    this.#client.close();
  }

  async get(key: string, { start = 0, end, signal }: GetOptions = {}): Promise<ObjectBody> {
    checkKey(key);
    const open = (from: number, etag?: string, once = false) =>
      this.#call({
        doing: `reading ${key}`,
        method: 'GET',
        url: this.#url(key),
        headers: {
          ...(from > 0 || end !== undefined
            ? { range: `bytes=${from}-${end === undefined ? '' : end - 1}` }
            : {}),
          ...(etag === undefined ? {} : { 'if-match': etag }),
        },
        ok: from > 0 || end !== undefined ? [206] : [200],
        signal,
        once,
      });
    const first = await open(start);
    const info = infoOf(key, first);
    const last = Math.min(end ?? info.size, info.size);
    const part = { key, host: this.#url(key).host, start, end: last, signal };
    return {
      ...info,
      stream: resuming(this.#client, first, (at) => open(at, info.etag, true), part),
    };
  }

  async head(key: string, { signal }: ObjectCall = {}): Promise<ObjectInfo | undefined> {
    checkKey(key);
    const call = { doing: `looking for ${key}`, url: this.#url(key), signal };
    const answer = await this.#call({ ...call, method: 'HEAD', ok: [200, 400, 403, 404] });
    answer.resume();
    if (answer.statusCode === 200) return infoOf(key, answer);
    if (answer.statusCode === 404) return undefined;
    // An answer to HEAD has no body that could say why.
    try {
      const said = await this.#call({
        ...call,
        method: 'GET',
        headers: { range: 'bytes=0-0' },
        ok: [200, 206, 416],
      });
      const info = infoOf(key, said);
      said.destroy();
      return info;
    } catch (err) {
      if (troubleOf(err) === 'not-found') return undefined;
      throw err;
    }
  }

  async put(key: string, source: ObjectSource | Uint8Array, options: PutOptions = {}): Promise<void> {
    checkKey(key);
    const { signal, onProgress } = options;
    const size = source instanceof Uint8Array ? source.length : source.size;
    if (size > onePiece && !(source instanceof Uint8Array)) {
      const there = await this.#uploads.send(key, source, options);
      // Somebody else may have ended the same upload.
      if (!there && (await this.head(key, { signal }))?.size !== size) {
        throw troubled('temporary', `writing ${key} of ${this.name}: the upload was ended by somebody else`);
      }
      return;
    }
    const answer = await this.#call({
      doing: `writing ${key}`,
      method: 'PUT',
      url: this.#url(key),
      headers: { 'content-length': String(size), 'content-type': 'application/octet-stream' },
      body: source instanceof Uint8Array ? source : () => source.open(0, size),
      ok: [200],
      signal,
    });
    answer.resume();
    onProgress?.(size);
  }

  async touch(key: string, { signal }: ObjectCall = {}): Promise<void> {
    checkKey(key);
    const doing = `touching ${key}`;
    const info = await this.head(key, { signal });
    if (info === undefined) throw refused(`${doing} of ${this.name}`, 404, { trouble: 'not-found' });
    if (info.size > mostCopied) return this.#uploads.copyOnto(key, info.size, { signal });
    await this.#document({
      doing,
      method: 'PUT',
      url: this.#url(key),
      headers: {
        'content-length': '0',
        'x-amz-copy-source': this.#uploads.copySource(key),
        'x-amz-metadata-directive': 'REPLACE',
        'x-amz-meta-updated-at': new Date().toISOString(),
      },
      body: new Uint8Array(),
      ok: [200],
      signal,
    });
  }

  async *list(
    prefix: string,
    { after, pageSize = 1000, signal }: ListOptions = {},
  ): AsyncGenerator<ObjectInfo[]> {
    let from: [string, string] | undefined = after === undefined ? undefined : ['start-after', after];
    for (;;) {
      const url = this.#query({
        'list-type': '2',
        prefix,
        'encoding-type': 'url',
        'max-keys': String(pageSize),
      });
      if (from !== undefined) url.searchParams.set(...from);
      const xml = await this.#document({
        doing: `listing ${prefix}*`,
        method: 'GET',
        url,
        ok: [200],
        signal,
      });
      const plain = keyReader(xml);
      const page = [...elements(xml, 'Contents')].map((each): ObjectInfo => {
        const etag = text(each, 'ETag');
        return {
          key: plain(text(each, 'Key') ?? ''),
          size: Number(text(each, 'Size') ?? 0),
          modified: Date.parse(text(each, 'LastModified') ?? '') || 0,
          ...(etag === undefined ? {} : { etag }),
        };
      });
      if (page.length > 0) yield page;
      const next = text(xml, 'NextContinuationToken');
      if (text(xml, 'IsTruncated') !== 'true' || next === undefined) return;
      from = ['continuation-token', next];
    }
  }

  async delete(keys: readonly string[], { signal }: ObjectCall = {}): Promise<void> {
    for (const key of keys) checkKey(key);
    for (let at = 0; at < keys.length; at += together) {
      await this.#deleteSome(keys.slice(at, at + together), signal);
    }
  }

  abortLeftovers(prefix: string, olderThan: number, { signal }: ObjectCall = {}): Promise<number> {
    return this.#uploads.abortOlder(prefix, olderThan, signal);
  }

  async #deleteSome(keys: readonly string[], signal: AbortSignal | undefined): Promise<void> {
    const doing = 'deleting objects';
    const objects = keys.map((key) => `<Object><Key>${escapeXml(key)}</Key></Object>`).join('');
    const body = Buffer.from(
      `<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>${objects}</Delete>`,
    );
    try {
      const md5 = createHash('md5').update(body).digest('base64');
      const url = this.#query({ delete: '' });
      const xml = await this.#document({
        ...{ doing, method: 'POST', url, body, ok: [200], signal },
        headers: { 'content-type': 'application/xml', 'content-md5': md5 },
      });
      for (const each of elements(xml, 'Error')) {
        const refusal = s3Refusal(200, {}, each);
        if (refusal.trouble !== 'not-found') throw refused(`${doing} of ${this.name}`, 200, refusal);
      }
    } catch (err) {
      // Some services remove objects only one by one.
      if (troubleOf(err) !== 'unsupported') throw err;
      const one = async (key: string) => {
        const url = this.#url(key);
        const ok = [200, 204, 404];
        (await this.#call({ doing: `deleting ${key}`, method: 'DELETE', url, ok, signal })).resume();
      };
      await inParallel(keys, one);
    }
  }

  /** The URL of the bucket itself, with a query. */
  #query(params: Record<string, string>): URL {
    const url = this.#url('');
    for (const [name, value] of Object.entries(params)) url.searchParams.set(name, value);
    return url;
  }

  #call(call: RestCall): Promise<HttpResponse> {
    return this.#client.call(call);
  }

  /** An answer in XML. A 200 may tell of a failure in it. */
  async #document(call: RestCall): Promise<string> {
    return this.#uploads.document(call, maxAnswer);
  }
}

function infoOf(key: string, { headers }: HttpResponse): ObjectInfo {
  const whole = /\/(\d+)$/.exec(headers['content-range'] ?? '')?.[1];
  return {
    key,
    size: Number(whole ?? headers['content-length'] ?? 0),
    modified: Date.parse(headers['last-modified'] ?? '') || 0,
    ...(headers.etag === undefined ? {} : { etag: headers.etag }),
  };
}

/** Keys in a list are escaped as in a form, if the service says so. */
function keyReader(xml: string): (key: string) => string {
  if (text(xml, 'EncodingType') !== 'url') return (key) => key;
  return (key) => decodeURIComponent(key.replaceAll('+', ' '));
}
