/** Objects in a container of Azure Blob Storage. https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api */
import { fail } from '../../errors/index.ts';
import { inParallel } from '../../flow/index.ts';
import type { HttpResponse } from '../../registry/index.ts';
import { checkKey, keyPath } from '../keys.ts';
import { readSome } from '../read-some.ts';
import { RestClient, type RestOptions } from '../rest.ts';
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
import { elements, text } from '../xml.ts';
import { putBlob, withQuery } from './blocks.ts';
import { azureRefusal } from './refusals.ts';
import { type AzureProof, azureSigner } from './signer.ts';

const maxAnswer = 8 << 20;

interface AzureOptions extends Pick<RestOptions, 'tries' | 'backoffMs' | 'idleMs'> {
  /** `https://account.blob.core.windows.net`; another service may have the account in the path. */
  accountUrl: string;
  container: string;
  proof: AzureProof;
}

export class AzureStore implements ObjectStore {
  readonly name: string;
  readonly #container: URL;
  readonly #client: RestClient;

  /** Throws `invalid` for a place that is none. */
  constructor({ accountUrl, container, proof, ...rest }: AzureOptions) {
    this.#container = containerUrl(accountUrl, container);
    this.name = `azblob://${this.#container.host}/${container}`;
    this.#client = new RestClient({
      ...rest,
      name: this.name,
      signer: azureSigner(proof),
      understand: azureRefusal,
    });
  }

  close(): void {
    this.#client.close();
  }

  async get(key: string, { start = 0, end, signal }: GetOptions = {}): Promise<ObjectBody> {
    const url = this.#url(key);
    const isPart = start > 0 || end !== undefined;
    const open = (from: number, etag?: string, once = false) => {
      const hasRange = from > 0 || end !== undefined;
      return this.#client.call({
        doing: `reading ${key}`,
        method: 'GET',
        url,
        headers: {
          ...(hasRange ? { 'x-ms-range': `bytes=${from}-${end === undefined ? '' : end - 1}` } : {}),
          ...(etag === undefined ? {} : { 'if-match': etag }),
        },
        ok: hasRange ? [206] : [200],
        signal,
        once,
      });
    };
    const first = await open(start).catch((err) => {
      throw this.#withoutContainer(err, `reading ${key}`);
    });
    const info = infoOf(key, first);
    const last = isPart ? Math.min(end ?? info.size, info.size) : info.size;
    return {
      ...info,
      stream: resuming(this.#client, first, (at) => open(at, info.etag, true), {
        ...{ key, host: url.host, start, end: last, signal },
      }),
    };
  }

  async head(key: string, { signal }: ObjectCall = {}): Promise<ObjectInfo | undefined> {
    const url = this.#url(key);
    const answer = await this.#client.call({
      ...{ doing: `looking for ${key}`, method: 'HEAD', url, ok: [200, 404], signal },
    });
    answer.resume();
    // The container is made with the first object: without it, there is none.
    return answer.statusCode === 200 ? infoOf(key, answer) : undefined;
  }

  async put(key: string, source: ObjectSource | Uint8Array, options: PutOptions = {}): Promise<void> {
    const url = this.#url(key);
    const put = () => putBlob(this.#client, url, source, { ...options, doing: `writing ${key}` });
    let there: boolean;
    try {
      there = await put();
    } catch (err) {
      if (troubleOf(err) !== 'no-bucket') throw err;
      await this.#make(options.signal);
      there = await put();
    }
    if (there) return;
    const size = source instanceof Uint8Array ? source.length : source.size;
    if ((await this.head(key, options))?.size === size) return;
    throw troubled('temporary', `writing ${key} of ${this.name}: the upload was ended by somebody else`);
  }

  async touch(key: string, { signal }: ObjectCall = {}): Promise<void> {
    const answer = await this.#client
      .call({
        doing: `touching ${key}`,
        method: 'PUT',
        url: withQuery(this.#url(key), { comp: 'metadata' }),
        headers: { 'content-length': '0', 'x-ms-meta-updated_at': new Date().toISOString() },
        body: new Uint8Array(),
        ok: [200],
        signal,
      })
      .catch((err) => {
        throw this.#withoutContainer(err, `touching ${key}`);
      });
    answer.resume();
  }

  async *list(
    prefix: string,
    { after, pageSize = 1000, signal }: ListOptions = {},
  ): AsyncGenerator<ObjectInfo[]> {
    for (let marker = ''; ; ) {
      const url = withQuery(this.#container, {
        ...{ restype: 'container', comp: 'list', maxresults: String(pageSize) },
        ...(prefix === '' ? {} : { prefix }),
        ...(marker === '' ? {} : { marker }),
      });
      const answer = await this.#client.call({
        ...{ doing: `listing ${prefix}*`, method: 'GET', url, ok: [200, 404], signal },
      });
      if (answer.statusCode === 404) return void answer.resume();
      const xml = (await readSome(answer, maxAnswer)).toString('utf8');
      const page = [...elements(xml, 'Blob')].map((each): ObjectInfo => {
        const etag = text(each, 'Etag');
        return {
          key: text(each, 'Name') ?? '',
          size: Number(text(each, 'Content-Length') ?? 0),
          modified: Date.parse(text(each, 'Last-Modified') ?? '') || 0,
          ...(etag === undefined ? {} : { etag }),
        };
      });
      // The protocol has no "after": what comes before is left out here.
      const wanted = after === undefined ? page : page.filter(({ key }) => comesAfter(key, after));
      if (wanted.length > 0) yield wanted;
      marker = text(xml, 'NextMarker') ?? '';
      if (marker === '') return;
    }
  }

  /** The container is made with the first object: while it is not there, each object is one that is not there. */
  #withoutContainer(err: unknown, doing: string): unknown {
    if (troubleOf(err) !== 'no-bucket') return err;
    return refused(`${doing} of ${this.name}`, 404, { trouble: 'not-found' });
  }

  async delete(keys: readonly string[], { signal }: ObjectCall = {}): Promise<void> {
    await inParallel(keys, async (key) => {
      const answer = await this.#client.call({
        doing: `deleting ${key}`,
        method: 'DELETE',
        url: this.#url(key),
        headers: { 'x-ms-delete-snapshots': 'include' },
        ok: [202, 404],
        signal,
      });
      answer.resume();
    });
  }

  /** Azure forgets blocks that nobody has made a blob of within a week. */
  async abortLeftovers(): Promise<number> {
    return 0;
  }

  #url(key: string): URL {
    checkKey(key);
    const url = new URL(this.#container);
    url.pathname = `${url.pathname}/${keyPath(key)}`;
    return url;
  }

  async #make(signal: AbortSignal | undefined): Promise<void> {
    const answer = await this.#client.call({
      doing: 'making the container',
      method: 'PUT',
      url: withQuery(this.#container, { restype: 'container' }),
      headers: { 'content-length': '0' },
      body: new Uint8Array(),
      // 409: somebody else has made it.
      ok: [201, 409],
      signal,
    });
    answer.resume();
  }
}

function comesAfter(key: string, other: string): boolean {
  return Buffer.compare(Buffer.from(key), Buffer.from(other)) > 0;
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

function containerUrl(accountUrl: string, container: string): URL {
  const url = URL.canParse(accountUrl) ? new URL(accountUrl) : undefined;
  const isHttp = url?.protocol === 'https:' || url?.protocol === 'http:';
  if (url === undefined || !isHttp || url.username !== '' || url.search !== '' || url.hash !== '') {
    throw fail('invalid', 'bucket', 'the account URL is not the URL of a storage account', {
      hint: 'Such as https://myaccount.blob.core.windows.net',
    });
  }
  if (!/^(\$root|[a-z0-9](-?[a-z0-9]){2,62})$/.test(container)) {
    throw fail('invalid', 'bucket', `${JSON.stringify(container)} is no name of a container`);
  }
  url.pathname = `${url.pathname.replace(/\/$/, '')}/${container}`;
  return url;
}
