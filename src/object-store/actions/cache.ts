/**
 * GitHub's cache of Actions: entries that are written once, found by their key or its beginning. The second version of
 * its protocol is Twirp (JSON over POST) with blobs of Azure; the first, which GitHub Enterprise Server has, is REST.
 * https://github.com/actions/toolkit/tree/main/packages/cache
 */
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { HttpResponse } from '../../registry/index.ts';
import { putBlob } from '../azblob/blocks.ts';
import { azureRefusal } from '../azblob/refusals.ts';
import { azureSigner } from '../azblob/signer.ts';
import { partsOf, sendParts } from '../parts.ts';
import { readSome } from '../read-some.ts';
import { RestClient, type RestOptions, type Signer } from '../rest.ts';
import { resuming } from '../resuming.ts';
import { type ObjectTrouble, type Refusal, troubled, troubleOf } from '../trouble.ts';
import type { ObjectCall, ObjectSource, PutOptions } from '../types.ts';

/** The version of the entries that Go programs write: BuildKit's are found by it. */
const version = createHash('sha256').update('|go-actionscache-1.0').digest('hex');
/** The size of the pieces of an upload in the first version, bytes. */
const piece = 32 << 20;
const maxAnswer = 64 << 10;

interface ActionsOptions {
  url: string;
  version: 1 | 2;
  token: string;
  /** When the token ends, ms since the epoch: it says why the service refuses it. */
  tokenEnd?: number;
  /** How long to go on asking a service that asks for fewer requests, ms. */
  timeoutMs: number;
  /** The first pause between tries in ms. */
  backoffMs?: number;
}

export interface ActionsEntry {
  key: string;
  /** A signed URL, good for some minutes. */
  url: URL;
}

/** All methods throw DrydockErrors with a trouble, as object stores do. */
export class ActionsCache {
  readonly #url: string;
  readonly #isNew: boolean;
  /** Talks to the service. */
  readonly #service: RestClient;
  /** Talks to wherever the service sends us; no token goes there. */
  readonly #blobs: RestClient;

  constructor({ url, version: which, token, tokenEnd, timeoutMs, backoffMs }: ActionsOptions) {
    this.#url = url;
    this.#isNew = which === 2;
    const name = 'the Actions cache';
    const common = { name, patienceMs: timeoutMs, backoffMs };
    const accept = this.#isNew ? 'application/json' : 'application/json;api-version=6.0-preview.1';
    const bearer: Signer = {
      sign: async (request) => ({
        url: request.url,
        headers: { ...request.headers, accept, authorization: `Bearer ${token}` },
      }),
    };
    const understand: RestOptions['understand'] = (status, headers, body) => {
      const refusal = actionsRefusal(status, body);
      return refusal.trouble === 'forbidden' && hasEnded(tokenEnd, headers)
        ? ended(tokenEnd, refusal)
        : refusal;
    };
    this.#service = new RestClient({ ...common, signer: bearer, understand });
    const blobSigner = azureSigner({ type: 'sas', query: '' });
    this.#blobs = new RestClient({ ...common, signer: blobSigner, understand: azureRefusal });
  }

  close(): void {
    this.#service.close();
    this.#blobs.close();
  }

  /** Finds the entry of this key, or the newest whose key begins with it; undefined when there is none. */
  async find(key: string, call: ObjectCall = {}): Promise<ActionsEntry | undefined> {
    const doing = `looking for ${key}`;
    const found = this.#isNew
      ? await this.#ask(doing, 'GetCacheEntryDownloadURL', { key, restore_keys: [key] }, call)
      : await this.#rest(
          doing,
          'GET',
          `cache?${new URLSearchParams({ keys: key, version })}`,
          undefined,
          call,
        );
    const { ok, signed_download_url: url, matched_key: matched, archiveLocation, cacheKey } = found ?? {};
    if (this.#isNew ? ok !== true : cacheKey === undefined) return undefined;
    const entry = { key: String(matched ?? cacheKey ?? ''), url: String(url ?? archiveLocation ?? '') };
    if (!entry.key.startsWith(key) || !isHttp(entry.url)) return undefined;
    return { key: entry.key, url: new URL(entry.url) };
  }

  /** Reads an entry. When its URL has ended, it is asked for anew. */
  async read(
    { key, url }: ActionsEntry,
    { signal }: ObjectCall = {},
  ): Promise<{ size: number; stream: Readable }> {
    let place = url;
    const open = async (from: number, once = false) => {
      const get = () =>
        this.#blobs.call({
          ...{ doing: `reading ${key}`, method: 'GET', url: place, signal, once },
          headers: from > 0 ? { range: `bytes=${from}-` } : {},
          ok: from > 0 ? [206] : [200],
        });
      try {
        return await get();
      } catch (err) {
        const trouble = troubleOf(err);
        if (trouble !== 'forbidden' && trouble !== 'expired-token') throw err;
        const again = await this.find(key, { signal });
        if (again === undefined) throw err;
        place = again.url;
        return get();
      }
    };
    const first = await open(0);
    const size = Number(first.headers['content-length'] ?? Number.NaN);
    const part = { key, host: url.host, start: 0, end: size, signal };
    return { size, stream: resuming(this.#blobs, first, (at) => open(at, true), part) };
  }

  /** Writes an entry. False when there is one of this key, or somebody writes it. */
  async save(key: string, source: ObjectSource | Uint8Array, options: PutOptions = {}): Promise<boolean> {
    const doing = `writing ${key}`;
    const size = source instanceof Uint8Array ? source.length : source.size;
    try {
      if (!this.#isNew) await this.#saveOld(key, source, size, options);
      else {
        const made = await this.#ask(doing, 'CreateCacheEntry', { key }, options);
        const url = String(made?.signed_upload_url ?? '');
        if (made?.ok !== true || !isHttp(url)) throw refusedEntry(doing);
        await putBlob(this.#blobs, new URL(url), source, { ...options, sameBytes: false, doing });
        // JSON has no 64-bit numbers: protobuf's are texts.
        const done = await this.#ask(
          doing,
          'FinalizeCacheEntryUpload',
          { key, size_bytes: String(size) },
          options,
        );
        if (done?.ok !== true) throw refusedEntry(doing);
      }
      return true;
    } catch (err) {
      if (troubleOf(err) === 'exists') return false;
      throw err;
    }
  }

  async #saveOld(
    key: string,
    source: ObjectSource | Uint8Array,
    size: number,
    { signal, onProgress }: PutOptions,
  ): Promise<void> {
    const doing = `writing ${key}`;
    const made = await this.#rest(doing, 'POST', 'caches', { key, version }, { signal });
    const id = Number(made?.cacheId ?? made?.cacheID);
    if (!Number.isSafeInteger(id)) throw refusedEntry(doing);
    await sendParts(
      partsOf(size, piece, 100_000),
      new Map(),
      async ({ start, end }) => {
        const answer = await this.#service.call({
          ...{ doing, method: 'PATCH', url: this.#at(`caches/${id}`), signal },
          headers: {
            'content-type': 'application/octet-stream',
            'content-length': String(end - start),
            'content-range': `bytes ${start}-${end - 1}/*`,
          },
          body: source instanceof Uint8Array ? source.subarray(start, end) : () => source.open(start, end),
          ok: [200, 204],
        });
        answer.resume();
      },
      onProgress,
    );
    await this.#rest(doing, 'POST', `caches/${id}`, { size }, { signal });
  }

  /** Calls a method of the second version. Undefined when it says that there is no such thing. */
  async #ask(doing: string, method: string, message: object, { signal }: ObjectCall): Promise<Answer> {
    const url = new URL(`${this.#url}/twirp/github.actions.results.api.v1.CacheService/${method}`);
    return this.#json(doing, 'POST', url, { ...message, version }, signal);
  }

  #rest(doing: string, method: string, path: string, message: object | undefined, { signal }: ObjectCall) {
    return this.#json(doing, method, this.#at(path), message, signal);
  }

  #at(path: string): URL {
    return new URL(`${this.#url}/_apis/artifactcache/${path}`);
  }

  async #json(
    doing: string,
    method: string,
    url: URL,
    message: object | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Answer> {
    let answer: HttpResponse;
    try {
      answer = await this.#service.call({
        ...{ doing, method, url, signal, ok: [200, 201, 204] },
        headers: message === undefined ? {} : { 'content-type': 'application/json' },
        ...(message === undefined ? {} : { body: Buffer.from(JSON.stringify(message)) }),
      });
    } catch (err) {
      if (troubleOf(err) === 'not-found') return undefined;
      throw err;
    }
    const text = (await readSome(answer, maxAnswer)).toString('utf8');
    if (text === '') return method === 'GET' ? undefined : {};
    try {
      return JSON.parse(text) as Answer;
    } catch (cause) {
      throw troubled('other', `${doing} of the Actions cache: its answer is not JSON`, { cause });
    }
  }
}

type Answer = Record<string, unknown> | undefined;

function refusedEntry(doing: string): Error {
  return troubled('other', `${doing} of the Actions cache: the service did not take it`, {
    hint: 'Jobs of forks and some events may only read the cache.',
  });
}

function isHttp(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

const byCode: Readonly<Record<string, ObjectTrouble>> = {
  already_exists: 'exists',
  not_found: 'not-found',
  resource_exhausted: 'throttled',
  unauthenticated: 'forbidden',
  permission_denied: 'forbidden',
  unavailable: 'temporary',
  internal: 'temporary',
  deadline_exceeded: 'temporary',
};

/** Whether a token has ended, by the service's clock, or ours where it tells none. */
function hasEnded(end: number | undefined, { date = '' }: HttpResponse['headers']): end is number {
  const theirs = Date.parse(date);
  return end !== undefined && (Number.isNaN(theirs) ? Date.now() : theirs) > end;
}

function ended(end: number, { said }: Refusal): Refusal {
  return {
    trouble: 'expired-token',
    said: [said, `the token ended at ${new Date(end).toISOString()}`].filter((part) => part).join('; '),
    hint: 'Tokens end some hours after their job began: build earlier in the job.',
  };
}

/** Understands an answer that is a failure: an error of Twirp, or of the REST API. Pure. */
function actionsRefusal(status: number, body: string): Refusal {
  let said: { code?: unknown; msg?: unknown; message?: unknown; typeKey?: unknown } = {};
  try {
    said = (JSON.parse(body) as typeof said | null) ?? {};
  } catch {
    // A proxy's page.
  }
  const code = typeof said.code === 'string' ? said.code : '';
  const words = [code, said.msg ?? said.message].filter((part) => typeof part === 'string' && part !== '');
  const exists = status === 409 || /AlreadyExists/.test(String(said.typeKey ?? ''));
  const trouble = status === 429 ? 'throttled' : exists ? 'exists' : (byCode[code] ?? byStatus(status));
  return {
    trouble,
    said: words.join(': '),
    ...(trouble === 'forbidden'
      ? { hint: 'The token is of another job, has ended, or may only read; it is ACTIONS_RUNTIME_TOKEN.' }
      : {}),
  };
}

function byStatus(status: number): ObjectTrouble {
  if (status === 404) return 'not-found';
  if (status === 401 || status === 403) return 'forbidden';
  return status === 408 || status >= 500 ? 'temporary' : 'other';
}
