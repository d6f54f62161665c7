/**
 * A client of the OCI distribution API.
 * https://github.com/opencontainers/distribution-spec/blob/main/spec.md
 */
import type { Readable } from 'node:stream';
import { DrydockError, fail } from '../errors/index.ts';
import { KeyedQueue } from '../flow/index.ts';
import {
  type CredentialSource,
  type Descriptor,
  type Digest,
  familiarName,
  formatReference,
  isDigest,
  isIndexType,
  isManifestType,
  parseReference,
  type Reference,
  type RegistryCredentials,
} from '../oci/index.ts';
import { blobStream } from './blob.ts';
import type { HostCertificates } from './certificates.ts';
import { domainOf } from './hosts.ts';
import type { Capability } from './hosts-file.ts';
import { HostsFiles, hostsFolders } from './hosts-folder.ts';
import { readBody } from './http.ts';
import { checkLogin } from './login.ts';
import { acceptedManifests, checkManifest, type FetchedManifest, maxManifest } from './manifest.ts';
import type { RepositoryPlace } from './mirrors.ts';
import { Places } from './places.ts';
import { type BlobRange, blobRange } from './range.ts';
import { attachReferrer, listReferrers, type Referrer } from './referrers.ts';
import { listTags } from './tags.ts';
import { purposeOf, Transport } from './transport.ts';
import { pushBlob, type UploadSource } from './upload.ts';

/** The settings of a client. */
export interface RegistryClientOptions {
  /** The name sent to registries: `drydock/1.0`. */
  userAgent: string;
  /** Hosts to speak to without TLS, or with a certificate that cannot be verified. */
  insecure?: readonly string[];
  /** A reference's domain → mirrors (`host[:port][/prefix]`) to ask first for pulls. */
  mirrors?: Readonly<Record<string, readonly string[]>>;
  /** Host → CAs and client certificates for it, besides those in /etc/docker/certs.d. */
  certificates?: Readonly<Record<string, HostCertificates>>;
  /** Folders with a `hosts.toml` for registries; default: see `hostsFolders`. */
  hostsFolders?: readonly string[];
  /** The number of tries after the first one; default 4. */
  retries?: number;
  /** The first pause between tries in ms, doubled each time; default 300. */
  backoffMs?: number;
  /** Give up on a silent server after this many ms; default 60 000. */
  idleMs?: number;
}

/** The caller's credentials and signal. */
export interface RegistryContext {
  credentials?: CredentialSource;
  signal?: AbortSignal;
}

/**
 * A client for a whole engine: it keeps connections, tokens and its knowledge of hosts. References have the form of
 * `parseReference`; without tag and digest they mean `latest`. All methods throw DrydockErrors with hop `registry`:
 * `unauthenticated`, `denied`, `not-found`, `unavailable`, `corrupt`, `canceled` …
 *
 *     const client = new RegistryClient({ userAgent: 'drydock/1.0' });
 *     const { digest } = await client.resolve('alpine:3');
 */
export class RegistryClient {
  readonly #transport: Transport;
  readonly #options: RegistryClientOptions;
  readonly #hosts: HostsFiles;
  readonly #places: Places;
  /** Writers of lists of referrers, one after the other for each list. */
  readonly #lists = new KeyedQueue();

  /** Throws `invalid` for a mirror that is no host. */
  constructor(options: RegistryClientOptions) {
    this.#options = options;
    this.#hosts = new HostsFiles(options.hostsFolders ?? hostsFolders());
    this.#transport = new Transport({
      userAgent: options.userAgent,
      insecure: options.insecure ?? [],
      certificates: options.certificates ?? {},
      retries: options.retries ?? 4,
      backoffMs: options.backoffMs ?? 300,
      idleMs: options.idleMs ?? 60_000,
    });
    this.#places = new Places(options.mirrors ?? {}, this.#hosts, this.#transport);
  }

  /** A client like this one that speaks to a host without TLS, or with a certificate that cannot be verified. */
  trusting(host: string): RegistryClient {
    const { insecure = [] } = this.#options;
    return new RegistryClient({ ...this.#options, insecure: [...insecure, host] });
  }

  /** The settings, as plain data: a client in another thread is made of them. */
  get settings(): RegistryClientOptions {
    return this.#options;
  }

  /** Closes idle connections. */
  close(): void {
    this.#transport.close();
  }

  /**
   * Checks that the registry at a host accepts the credentials; see `checkLogin`. Of the servers in its `hosts.toml` the
   * one that stands for the registry itself is asked, the last.
   */
  async login(host: string, credentials: RegistryCredentials, signal?: AbortSignal): Promise<void> {
    const servers = await this.#hosts.of(domainOf(host));
    return checkLogin(host, credentials, this.#transport.options, signal, servers?.at(-1));
  }

  /** The descriptor of the manifest or index that a reference names now. Asks with HEAD, if that answers enough. */
  async resolve(ref: string, ctx: RegistryContext = {}): Promise<Descriptor> {
    const parsed = parseReference(ref);
    return this.#places.ask(parsed, byName(parsed), async (place) => {
      const response = await this.#transport.call({
        purpose: purposeOf(`resolving ${familiarName(ref)}`, place.domain, place.path),
        path: place.path,
        namespace: place.namespace,
        method: 'HEAD',
        at: `manifests/${target(parsed)}`,
        headers: { accept: acceptedManifests },
        // Refusals are asked for once more with GET, since HEAD has no body. (Not 429: another request would be
        // unwelcome.)
        ok: [200, 400, 401, 403, 404, 405, 500],
        ...ctx,
      });
      response.resume();
      const digest = response.headers['docker-content-digest'];
      const mediaType = response.headers['content-type']?.split(';')[0]?.trim() ?? '';
      const size = Number(response.headers['content-length']);
      const known = isIndexType(mediaType) || isManifestType(mediaType);
      const right = parsed.digest === undefined || digest === parsed.digest;
      if (
        response.statusCode === 200 &&
        typeof digest === 'string' &&
        isDigest(digest) &&
        known &&
        size > 0 &&
        right
      ) {
        return { mediaType, digest, size };
      }
      // GET has a body that tells more: the manifest itself, or the registry's reason why there is none.
      return (await this.#manifest(place, parsed, ctx)).descriptor;
    });
  }

  /**
   * Fetches a manifest or index by the reference's digest, else its tag, and checks it. Throws `corrupt` when the
   * digest differs, `unsupported` for docker schema 1 and for documents of no image.
   */
  async manifest(ref: string, ctx: RegistryContext = {}): Promise<FetchedManifest> {
    const parsed = parseReference(ref);
    return this.#places.ask(parsed, byName(parsed), (place) => this.#manifest(place, parsed, ctx));
  }

  async #manifest(place: RepositoryPlace, ref: Reference, ctx: RegistryContext): Promise<FetchedManifest> {
    const purpose = purposeOf(`resolving ${familiarName(formatReference(ref))}`, place.domain, place.path);
    const response = await this.#transport.call({
      purpose,
      path: place.path,
      namespace: place.namespace,
      method: 'GET',
      at: `manifests/${target(ref)}`,
      headers: { accept: acceptedManifests },
      ok: [200],
      ...ctx,
    });
    let bytes: Buffer;
    try {
      bytes = await readBody(response, maxManifest);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw fail(
        cause instanceof RangeError ? 'exhausted' : 'unavailable',
        'registry',
        `${purpose.doing}: ${why}`,
        { cause },
      );
    }
    const named = response.headers['docker-content-digest'];
    return checkManifest(
      bytes,
      {
        digest: ref.digest,
        named: typeof named === 'string' ? named : undefined,
        contentType: response.headers['content-type'],
      },
      purpose.doing,
    );
  }

  /** The tags of a reference's repository. */
  async tags(ref: string, ctx: RegistryContext = {}): Promise<string[]> {
    const { domain, path } = await this.#places.last(parseReference(ref), 'resolve');
    return listTags(this.#transport, domain, path, ctx);
  }

  /**
   * The manifests that refer to the manifest of a reference's digest, as the first of the mirrors and the registry tells
   * that knows of any. Throws `invalid` for a reference without a digest.
   */
  async referrers(ref: string, ctx: RegistryContext & { artifactType?: string } = {}): Promise<Referrer[]> {
    const parsed = parseReference(ref);
    const { digest } = parsed;
    if (digest === undefined) throw fail('invalid', 'registry', `${ref} has no digest`);
    return this.#places.ask(parsed, 'pull', async (place, isLast) => {
      const list = await listReferrers(this.#transport, place, digest, ctx);
      if (list.length === 0 && !isLast) throw fail('not-found', 'registry', `${place.domain} lists none`);
      return list;
    });
  }

  /**
   * Puts a manifest that refers to the manifest of a reference's digest into its repository, such as a signature. Throws
   * `invalid` for a reference without a digest.
   */
  async attach(
    ref: string,
    referrer: Referrer,
    manifest: Uint8Array,
    ctx: RegistryContext = {},
  ): Promise<void> {
    const parsed = parseReference(ref);
    const { digest } = parsed;
    if (digest === undefined) throw fail('invalid', 'registry', `${ref} has no digest`);
    const place = await this.#places.written(parsed);
    await this.#lists.run(ref, () => attachReferrer(this.#transport, place, digest, referrer, manifest, ctx));
  }

  /**
   * Streams a blob from `offset` (default 0) on: from its own URLs if it has some (without authorization), else from
   * the registry. A connection that breaks off is resumed at the same byte. The stream fails with `corrupt` at its end
   * if the size or (from offset 0) the digest differs; `unverified` leaves the digest to a reader that checks it
   * anyway.
   */
  async blob(
    ref: string,
    blob: Pick<Descriptor, 'digest' | 'size'> & { urls?: string[] },
    ctx: RegistryContext & { offset?: number; unverified?: boolean } = {},
  ): Promise<Readable> {
    const parsed = parseReference(ref);
    for (const url of (blob.urls ?? []).filter((each) => URL.canParse(each))) {
      try {
        const at = new URL(url);
        if (at.protocol === 'http:' || at.protocol === 'https:') {
          return await blobStream(this.#transport, parsed, blob, ctx, at);
        }
      } catch (err) {
        if (err instanceof DrydockError && err.code === 'canceled') throw err;
      }
    }
    return this.#places.ask(parsed, 'pull', (place) => blobStream(this.#transport, place, blob, ctx));
  }

  /**
   * Reads `length` bytes of a blob from `offset` on into memory; nothing checks them. Throws `unsupported` when the
   * registry does not serve ranges.
   *
   *     const footer = await client.range('localhost:5000/app', layer.digest, { offset: layer.size - 51, length: 51 });
   */
  async range(ref: string, digest: Digest, range: BlobRange, ctx: RegistryContext = {}): Promise<Buffer> {
    if (range.length === 0) return Buffer.alloc(0);
    return this.#places.ask(parseReference(ref), 'pull', (place) =>
      blobRange(this.#transport, place, digest, range, ctx),
    );
  }

  /**
   * The size of a repository's blob in bytes. Throws `not-found`, and `unavailable` when the registry does not tell.
   */
  async blobSize(ref: string, digest: Digest, ctx: RegistryContext = {}): Promise<number> {
    const { domain, path } = await this.#places.last(parseReference(ref), 'pull');
    const purpose = purposeOf(`looking for ${digest}`, domain, path);
    const at = `blobs/${digest}`;
    const { credentials, signal } = ctx;
    const ask = { purpose, path, method: 'HEAD' as const, at, ok: [200, 404], credentials, signal };
    const response = await this.#transport.call(ask);
    response.resume();
    if (response.statusCode === 404) {
      throw fail('not-found', 'registry', `${domain}/${path} has no blob ${digest}`);
    }
    const size = Number(response.headers['content-length'] ?? Number.NaN);
    if (Number.isSafeInteger(size)) return size;
    throw fail('unavailable', 'registry', `${domain} does not say how large the blob ${digest} is`);
  }

  /** Whether a repository has a blob. */
  async hasBlob(
    ref: string,
    digest: Digest,
    ctx: RegistryContext & { push?: boolean } = {},
  ): Promise<boolean> {
    const parsed = parseReference(ref);
    const { domain, path } = await (ctx.push
      ? this.#places.written(parsed)
      : this.#places.last(parsed, 'pull'));
    const response = await this.#transport.call({
      purpose: purposeOf(`looking for ${digest}`, domain, path, ctx.push),
      path,
      method: 'HEAD',
      at: `blobs/${digest}`,
      ok: [200, 404],
      credentials: ctx.credentials,
      signal: ctx.signal,
    });
    response.resume();
    return response.statusCode === 200;
  }

  /**
   * Puts a blob into a repository, unless it is there or can be mounted from `mountFrom` (a reference on the same
   * registry). `open` is called for each try and must return the bytes from their beginning.
   */
  async pushBlob(
    ref: string,
    blob: Pick<Descriptor, 'digest' | 'size'>,
    open: UploadSource,
    ctx: RegistryContext & { mountFrom?: string; onProgress?: (sent: number) => void } = {},
  ): Promise<'exists' | 'mounted' | 'pushed'> {
    const parsed = parseReference(ref);
    const { domain, path } = await this.#places.written(parsed);
    const from = ctx.mountFrom === undefined ? undefined : parseReference(ctx.mountFrom);
    const mount = from?.domain === parsed.domain && from.path !== path ? from.path : undefined;
    if (await this.hasBlob(ref, blob.digest, { ...ctx, push: true })) return 'exists';
    return pushBlob(this.#transport, domain, path, blob, open, { ...ctx, mount });
  }

  /**
   * Puts a manifest or index under the reference's tag, else its digest. Throws `corrupt` if the registry took another
   * one.
   */
  async pushManifest(
    ref: string,
    descriptor: Pick<Descriptor, 'mediaType' | 'digest'>,
    bytes: Uint8Array,
    ctx: RegistryContext = {},
  ): Promise<void> {
    const parsed = parseReference(ref);
    const place = await this.#places.written(parsed);
    const at = parsed.tag ?? parsed.digest ?? 'latest';
    const response = await this.#transport.call({
      purpose: purposeOf(`pushing ${familiarName(ref)}`, place.domain, place.path, true),
      path: place.path,
      method: 'PUT',
      at: `manifests/${at}`,
      headers: { 'content-type': descriptor.mediaType },
      body: () => bytes,
      ok: [200, 201, 202],
      ...ctx,
    });
    response.resume();
    const took = response.headers['docker-content-digest'];
    if (typeof took === 'string' && took !== descriptor.digest) {
      throw fail(
        'corrupt',
        'registry',
        `pushing ${familiarName(ref)}: the registry stored ${took} instead of ${descriptor.digest}`,
      );
    }
  }

  /**
   * Deletes the manifest of a reference's digest, and with it the tags that name it. One that is not there is no error.
   * Throws `invalid` for a reference without a digest, `unsupported` when the registry lets nothing be deleted.
   */
  async deleteManifest(ref: string, ctx: RegistryContext = {}): Promise<void> {
    const parsed = parseReference(ref);
    const { digest } = parsed;
    if (digest === undefined) throw fail('invalid', 'registry', `${ref} has no digest`);
    const { domain, path } = await this.#places.written(parsed);
    const purpose = purposeOf(`deleting ${familiarName(ref)}`, domain, path, true);
    const response = await this.#transport.call({
      purpose: { ...purpose, deletes: true },
      ...{ path, method: 'DELETE', at: `manifests/${digest}`, ok: [200, 202, 204, 404], ...ctx },
    });
    response.resume();
  }
}

/** What a server must be able to do to be asked for a manifest. */
function byName({ digest }: Reference): Capability {
  return digest === undefined ? 'resolve' : 'pull';
}

function target(ref: Reference): string {
  return ref.digest ?? ref.tag ?? 'latest';
}
