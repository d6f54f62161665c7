/**
 * A client of the OCI distribution API.
 * https://github.com/opencontainers/distribution-spec/blob/main/spec.md
 */
import type { Readable } from 'node:stream';
import { DrydockError, fail } from '../errors/index.ts';
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
import { readBody } from './http.ts';
import { checkLogin } from './login.ts';
import { acceptedManifests, checkManifest, type FetchedManifest, maxManifest } from './manifest.ts';
import { type Mirror, parseMirror, placesOf, type RepositoryPlace } from './mirrors.ts';
import { listReferrers, type Referrer } from './referrers.ts';
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
  readonly #mirrors: ReadonlyMap<string, readonly Mirror[]>;
  readonly #options: RegistryClientOptions;

  /** Throws `invalid` for a mirror that is no host. */
  constructor(options: RegistryClientOptions) {
    this.#options = options;
    this.#mirrors = new Map(
      Object.entries(options.mirrors ?? {}).map(([domain, list]) => [domain, list.map(parseMirror)]),
    );
    this.#transport = new Transport({
      userAgent: options.userAgent,
      insecure: options.insecure ?? [],
      certificates: options.certificates ?? {},
      retries: options.retries ?? 4,
      backoffMs: options.backoffMs ?? 300,
      idleMs: options.idleMs ?? 60_000,
    });
  }

  /** A client like this one that speaks to a host without TLS, or with a certificate that cannot be verified. */
  trusting(host: string): RegistryClient {
    const { insecure = [] } = this.#options;
    return new RegistryClient({ ...this.#options, insecure: [...insecure, host] });
  }

  /** Closes idle connections. */
  close(): void {
    this.#transport.close();
  }

  /** Checks that the registry at a host accepts the credentials; see `checkLogin`. */
  login(host: string, credentials: RegistryCredentials, signal?: AbortSignal): Promise<void> {
    return checkLogin(host, credentials, this.#transport.options, signal);
  }

  /** The descriptor of the manifest or index that a reference names now. Asks with HEAD, if that answers enough. */
  async resolve(ref: string, ctx: RegistryContext = {}): Promise<Descriptor> {
    const parsed = parseReference(ref);
    return this.#fromAny(parsed, async (place) => {
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
    return this.#fromAny(parsed, (place) => this.#manifest(place, parsed, ctx));
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
    const { domain, path } = parseReference(ref);
    return listTags(this.#transport, domain, path, ctx);
  }

  /**
   * The manifests that refer to the manifest of a reference's digest; none when the registry knows of none. Throws
   * `invalid` for a reference without a digest.
   */
  async referrers(ref: string, ctx: RegistryContext = {}): Promise<Referrer[]> {
    const parsed = parseReference(ref);
    const { digest } = parsed;
    if (digest === undefined) throw fail('invalid', 'registry', `${ref} has no digest`);
    return this.#fromAny(parsed, (place) => listReferrers(this.#transport, place, digest, ctx));
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
    return this.#fromAny(parsed, (place) => blobStream(this.#transport, place, blob, ctx));
  }

  /**
   * The size of a repository's blob in bytes. Throws `not-found`, and `unavailable` when the registry does not tell.
   */
  async blobSize(ref: string, digest: Digest, ctx: RegistryContext = {}): Promise<number> {
    const { domain, path } = parseReference(ref);
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
    const { domain, path } = parseReference(ref);
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
    const { domain, path } = parseReference(ref);
    const from = ctx.mountFrom === undefined ? undefined : parseReference(ctx.mountFrom);
    const mount = from?.domain === domain && from.path !== path ? from.path : undefined;
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
    const at = parsed.tag ?? parsed.digest ?? 'latest';
    const response = await this.#transport.call({
      purpose: purposeOf(`pushing ${familiarName(ref)}`, parsed.domain, parsed.path, true),
      path: parsed.path,
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

  /** Asks the domain's mirrors, then the domain itself; throws the last one's error. */
  async #fromAny<T>(ref: Reference, ask: (place: RepositoryPlace) => Promise<T>): Promise<T> {
    const places = placesOf(ref, this.#mirrors.get(ref.domain));
    for (const place of places.slice(0, -1)) {
      try {
        return await ask(place);
      } catch (err) {
        if (err instanceof DrydockError && err.code === 'canceled') throw err;
      }
    }
    return ask(places.at(-1) as RepositoryPlace);
  }
}

function target(ref: Reference): string {
  return ref.digest ?? ref.tag ?? 'latest';
}
