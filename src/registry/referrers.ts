/**
 * Lists what refers to a manifest, such as signatures and statements, and adds to it. Registries of old have the list
 * under a tag.
 * https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
 */
import { fail } from '../errors/index.ts';
import { pause } from '../flow/index.ts';
import {
  type Descriptor,
  type Digest,
  documentExcess,
  familiarName,
  isDigest,
  mediaTypes,
} from '../oci/index.ts';
import type { RegistryContext } from './client.ts';
import type { Purpose } from './errors.ts';
import { type HttpResponse, readBody } from './http.ts';
import { maxManifest } from './manifest.ts';
import { purposeOf, type Transport } from './transport.ts';

/** A manifest that refers to another one. */
export interface Referrer extends Descriptor {
  /** `application/vnd.dev.sigstore.bundle.v0.3+json` … */
  artifactType?: string;
}

const indexType = mediaTypes.ociIndex;
/** The most manifests that are listed. A registry may have more for whoever can write to it. */
const maxReferrers = 10_000;
/** How often the list under a tag is written again when another writer came between. */
const maxTries = 5;
/** How long a writer of that list waits before it looks whether its entry has stayed there, in ms; twice that at most. */
const settleMs = 200;

/**
 * A manifest's referrers, page by page, 10,000 at most; none when the registry knows of none. `artifactType` asks for
 * those of one type alone, and a registry may not heed it. Throws the registry's errors.
 */
export async function listReferrers(
  transport: Transport,
  place: { domain: string; path: string },
  digest: Digest,
  ctx: RegistryContext & { artifactType?: string },
): Promise<Referrer[]> {
  const { credentials, signal, artifactType } = ctx;
  const list = new ReferrerList(transport, place, digest, { credentials, signal });
  return (await list.asked(artifactType)) ?? list.tagged();
}

/**
 * Puts a manifest that refers to another one, its subject, into the subject's repository, and into the list under the
 * subject's tag when the registry keeps no list of its own. Throws the registry's errors, and `conflict` when others
 * keep writing that list.
 */
export async function attachReferrer(
  transport: Transport,
  place: { domain: string; path: string },
  subject: Digest,
  referrer: Referrer,
  manifest: Uint8Array,
  ctx: RegistryContext,
): Promise<void> {
  const { domain, path } = place;
  const purpose = purposeOf(
    `attaching to ${familiarName(`${domain}/${path}@${subject}`)}`,
    domain,
    path,
    true,
  );
  const put = async (at: string, mediaType: string, bytes: Uint8Array) => {
    const response = await transport.call({
      ...{ purpose, path, method: 'PUT', at: `manifests/${at}`, headers: { 'content-type': mediaType } },
      body: () => bytes,
      ok: [200, 201, 202],
      ...ctx,
    });
    response.resume();
    return response.headers['oci-subject'] !== undefined;
  };
  if (await put(referrer.digest, referrer.mediaType, manifest)) return;
  const list = new ReferrerList(transport, place, subject, ctx);
  if ((await list.asked()) !== undefined) return;
  for (let tries = 0; tries < maxTries; tries++) {
    const manifests = await list.tagged();
    if (manifests.some(({ digest }) => digest === referrer.digest)) return;
    if (manifests.length >= maxReferrers) {
      throw fail('exhausted', 'registry', `${purpose.doing}: there are ${maxReferrers} referrers already`);
    }
    const index = { schemaVersion: 2, mediaType: indexType, manifests: [...manifests, referrer] };
    await put(tagOf(subject), indexType, Buffer.from(JSON.stringify(index)));
    // Another process may have read the list before us, and write it after us: it is looked at once that is over.
    await pause(settleMs * (1 + Math.random()), ctx.signal);
  }
  // What was written last is looked at once more.
  if ((await list.tagged()).some(({ digest }) => digest === referrer.digest)) return;
  throw fail(
    'conflict',
    'registry',
    `${purpose.doing}: others write the list of referrers at the same time`,
    {
      hint: 'Try again.',
    },
  );
}

function tagOf(digest: Digest): string {
  return digest.replace(':', '-');
}

/** The list of one manifest's referrers, as the registry answers it or as it lies under a tag. */
class ReferrerList {
  readonly #transport: Transport;
  readonly #path: string;
  readonly #digest: Digest;
  readonly #ctx: RegistryContext;
  readonly #purpose: Purpose;

  constructor(
    transport: Transport,
    { domain, path }: { domain: string; path: string },
    digest: Digest,
    ctx: RegistryContext,
  ) {
    this.#transport = transport;
    this.#path = path;
    this.#digest = digest;
    this.#ctx = ctx;
    const doing = `listing what refers to ${familiarName(`${domain}/${path}@${digest}`)}`;
    this.#purpose = purposeOf(doing, domain, path);
  }

  /** The registry's own list; undefined when it keeps none. */
  async asked(artifactType?: string): Promise<Referrer[] | undefined> {
    const all: Referrer[] = [];
    const query = artifactType === undefined ? '' : `?artifactType=${encodeURIComponent(artifactType)}`;
    let at: string | URL | undefined = `referrers/${this.#digest}${query}`;
    for (let first = true; at !== undefined && all.length < maxReferrers; first = false) {
      const response = await this.#get(at);
      if (response === undefined) return first ? undefined : all;
      const page = referrersOf(await readBody(response, maxManifest), this.#purpose.doing);
      all.push(...page);
      const next = /<([^<>]+)>\s*;\s*rel="?next"?/.exec(String(response.headers.link ?? ''))?.[1];
      const url: URL | undefined = next === undefined ? undefined : new URL(next, response.finalUrl);
      // A page that adds nothing, or leads to another host, ends the list.
      at = url !== undefined && url.host === response.finalUrl.host && page.length > 0 ? url : undefined;
    }
    return all.slice(0, maxReferrers);
  }

  /** The list under the tag that stands for the digest; none when there is no such tag. */
  async tagged(): Promise<Referrer[]> {
    const response = await this.#get(`manifests/${tagOf(this.#digest)}`);
    if (response === undefined) return [];
    const all = referrersOf(await readBody(response, maxManifest), this.#purpose.doing);
    return all.slice(0, maxReferrers);
  }

  async #get(at: string | URL): Promise<HttpResponse | undefined> {
    const response = await this.#transport.call({
      ...{ purpose: this.#purpose, path: this.#path, method: 'GET', at, headers: { accept: indexType } },
      ok: [200, 400, 404, 405],
      ...this.#ctx,
    });
    if (response.statusCode === 200) return response;
    response.resume();
    return undefined;
  }
}

function referrersOf(bytes: Buffer, doing: string): Referrer[] {
  const excess = documentExcess(bytes);
  if (excess !== undefined) throw fail('exhausted', 'registry', `${doing}: the list has ${excess}`);
  try {
    const { manifests } = JSON.parse(bytes.toString('utf8')) as { manifests?: unknown };
    if (Array.isArray(manifests)) {
      return manifests.filter(
        ({ digest, size, mediaType }) =>
          typeof digest === 'string' &&
          isDigest(digest) &&
          Number.isSafeInteger(size) &&
          typeof mediaType === 'string',
      );
    }
  } catch {
    // The error is thrown below.
  }
  throw fail('corrupt', 'registry', `${doing}: the registry's answer is no list`);
}
