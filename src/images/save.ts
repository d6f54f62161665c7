/**
 * `drydock save`: writes images as one tar that is both an OCI layout and a docker archive, like docker's own since
 * version 25. https://github.com/opencontainers/image-spec/blob/main/image-layout.md,
 * https://docs.docker.com/reference/cli/docker/image/save/
 */
import { once } from 'node:events';
import { finished } from 'node:stream/promises';
import {
  blobsOf,
  type FetchContext,
  findImage,
  imageFor,
  isDangling,
  parseIndex,
  referenceOf,
  type StoredAttestation,
  type StoredImage,
  storedAttestations,
  storedImages,
  withLease,
} from '../distribution/index.ts';
import { canceled, fail, throwIfAborted, toDrydockError } from '../errors/index.ts';
import {
  type Descriptor,
  type Digest,
  digestOf,
  familiarName,
  fullNameAnnotation,
  hex,
  type Index,
  isIndexType,
  layoutMark,
  mediaTypes,
  normalizeName,
  type Platform,
  parseReference,
  refNameAnnotation,
} from '../oci/index.ts';
import type { ReportStatus } from '../progress/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import type { Store } from '../store/index.ts';
import { endOfArchive, header, padding } from '../tar/index.ts';
import { ensureLayer, storedLayers } from './blobs.ts';

interface SaveOptions {
  lease?: string;
  signal?: AbortSignal;
  /** Reports the bytes of each blob written, under its digest. */
  report?: ReportStatus;
  /** Fetches layers that are no longer in content. */
  client?: RegistryClient;
  credentials?: FetchContext['credentials'];
  /** Saves only these platforms of each image, each of which must be here. */
  platforms?: readonly Platform[];
  /** The blobs that the reader of the archive has already: they are named in it, and left out. */
  without?: ReadonlySet<Digest>;
}

interface Plan {
  /** The blobs in the order in which they are written, each once; `made`: one that is not in content. */
  blobs: Map<Digest, { size: number; ensure?: () => Promise<void>; mtimeNs?: bigint; made?: Buffer }>;
  index: Index;
  docker: { Config: string; RepoTags: string[] | null; Layers: string[] }[];
}

/**
 * Writes the images with the given names or IDs to a stream and ends it. For a name, only this name is saved with the
 * image; for an ID or a digest none is, as in docker. Throws `not-found` before anything is written, also for a
 * platform that is not here; `canceled`.
 *
 *     await saveImages(store, ['app:1', 'base:2'], createWriteStream('images.tar'), { client });
 */
export async function saveImages(
  store: Store,
  names: readonly string[],
  out: NodeJS.WritableStream,
  options: SaveOptions = {},
): Promise<void> {
  await withLease(store, options.lease, async (lease) => {
    const ctx: FetchContext = { ...options, lease };
    const plan = await planOf(store, names, ctx, options);
    for (const digest of options.without ?? []) plan.blobs.delete(digest);
    await write(store, plan, out, ctx);
  });
}

async function planOf(
  store: Store,
  names: readonly string[],
  ctx: FetchContext,
  { client, platforms = [] }: SaveOptions,
): Promise<Plan> {
  const plan: Plan = {
    blobs: new Map(),
    index: { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] },
    docker: [],
  };
  const tagsOf = new Map<Digest, string[]>();
  for (const name of names) {
    const found = await findImage(store, name);
    const { record, by } = found;
    const images = await storedImages(store, record.name, record.target);
    const chosen = new Set(platforms.map((platform) => imageFor(platform, images, name)));
    const [image = found.image] = chosen;
    let target = record.target;
    if (chosen.size === 1) target = image.manifest;
    else if (chosen.size > 1) target = await planSome(store, plan, name, target, [...chosen]);
    else if (isIndexType(target.mediaType)) {
      const index = parseIndex(await store.content.bytes(target.digest), { name, hop: 'store' });
      const stated = await storedAttestations(store, name, target);
      const here = [...images.map(({ manifest }) => manifest), ...stated.map(({ entry }) => entry)];
      const digests = new Set(here.map(({ digest }) => digest));
      // An index without all its parts would make an archive with holes.
      const whole = index.manifests.every((child) => digests.has(child.digest));
      if (whole) planAttestations(plan, stated);
      else target = image.manifest;
    }
    for (const one of chosen.size > 0 ? chosen : target === record.target ? images : [image])
      await planImage(store, plan, one, ctx, client);
    if (target.digest !== image.manifest.digest && !plan.blobs.has(target.digest))
      plan.blobs.set(target.digest, { size: target.size });
    const isTag =
      by === 'name' && !isDangling(record.name) && parseReference(normalizeName(name)).digest === undefined;
    const tag = isTag ? record.name : undefined;
    addToIndex(plan.index, target, tag);
    const tags = tagsOf.get(image.id);
    if (tags !== undefined) {
      if (tag !== undefined) tags.push(familiarName(tag));
      continue;
    }
    const own = tag === undefined ? [] : [familiarName(tag)];
    tagsOf.set(image.id, own);
    plan.docker.push({
      Config: pathOf(image.id),
      RepoTags: own,
      Layers: image.document.layers.map((layer) => pathOf(layer.digest)),
    });
  }
  return plan;
}

/** An index of some of an image's platforms, with what is stated of them: an index without all its parts would have holes. */
async function planSome(
  store: Store,
  plan: Plan,
  name: string,
  target: Descriptor,
  chosen: readonly StoredImage[],
): Promise<Descriptor> {
  const whole = parseIndex(await store.content.bytes(target.digest), { name, hop: 'store' });
  const about = new Set(chosen.map(({ manifest }) => manifest.digest));
  const stated = (await storedAttestations(store, name, target)).filter((each) => about.has(each.about));
  planAttestations(plan, stated);
  const images = chosen.map(({ manifest, config: { architecture, os, variant } }) => {
    const entry = whole.manifests.find(({ digest }) => digest === manifest.digest);
    return (
      entry ?? { ...manifest, platform: { architecture, os, ...(variant === undefined ? {} : { variant }) } }
    );
  });
  const index: Index = { ...whole, manifests: [...images, ...stated.map(({ entry }) => entry)] };
  const made = Buffer.from(JSON.stringify(index));
  const digest = digestOf(made);
  plan.blobs.set(digest, { size: made.length, made });
  return { mediaType: target.mediaType, digest, size: made.length };
}

function planAttestations({ blobs }: Plan, stated: readonly StoredAttestation[]): void {
  for (const { entry, document } of stated) {
    for (const { digest, size } of [entry, ...blobsOf(document)]) blobs.set(digest, { size });
  }
}

async function planImage(
  store: Store,
  plan: Plan,
  image: StoredImage,
  ctx: FetchContext,
  client: RegistryClient | undefined,
): Promise<void> {
  const { config } = image.document;
  for (const layer of await storedLayers(store, image)) {
    const { digest, size } = layer.descriptor;
    plan.blobs.set(digest, { size, ensure: () => ensureLayer(store, client, layer, ctx) });
  }
  const created = Date.parse(image.config.created ?? '');
  // Docker does so with a store of its own; with containerd's, all its times are 0.
  const mtimeNs = store.shared || !(created > 0) ? 0n : BigInt(created) * 1_000_000n;
  plan.blobs.set(config.digest, { size: config.size, mtimeNs });
  plan.blobs.set(image.manifest.digest, { size: image.manifest.size });
}

function addToIndex(index: Index, { mediaType, digest, size }: Descriptor, name: string | undefined): void {
  const annotations: Record<string, string> = {};
  if (name !== undefined) {
    annotations[fullNameAnnotation] = name;
    const tag = referenceOf(name)?.tag;
    if (tag !== undefined) annotations[refNameAnnotation] = tag;
  }
  const same = index.manifests.some(
    (m) => m.digest === digest && m.annotations?.[fullNameAnnotation] === name,
  );
  if (same) return;
  index.manifests.push({ mediaType, digest, size, ...(name === undefined ? {} : { annotations }) });
}

function pathOf(digest: Digest): string {
  return `blobs/sha256/${hex(digest)}`;
}

async function write(store: Store, plan: Plan, out: NodeJS.WritableStream, ctx: FetchContext): Promise<void> {
  const tar = new TarOut(out, ctx.signal);
  try {
    await tar.folder('blobs');
    await tar.folder('blobs/sha256');
    for (const [digest, { size, ensure, mtimeNs = 0n, made }] of [...plan.blobs].sort(([a], [b]) =>
      a < b ? -1 : 1,
    )) {
      await ensure?.();
      const source = made === undefined ? await store.content.read(digest) : piece(made);
      const report = (current: number) =>
        ctx.report?.(digest, { current, total: size, done: current === size });
      await tar.file(pathOf(digest), size, source, { mtimeNs, report });
    }
    await tar.json('index.json', plan.index);
    await tar.json('manifest.json', plan.docker);
    await tar.json('oci-layout', layoutMark);
    await tar.end();
  } catch (err) {
    if ('destroy' in out && typeof out.destroy === 'function') out.destroy();
    throw ctx.signal?.aborted ? canceled(ctx.signal.reason) : toDrydockError(err, 'export');
  }
}

/**
 * Writes a tar to a stream, no faster than the stream takes it. Times are 0 or the images' own, so the same images give
 * the same archive.
 */
class TarOut {
  readonly #out: NodeJS.WritableStream;
  readonly #signal: AbortSignal | undefined;
  readonly #broken: Promise<never>;

  constructor(out: NodeJS.WritableStream, signal: AbortSignal | undefined) {
    this.#out = out;
    this.#signal = signal;
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => {});
    out.on('error', reject);
    const away = () => reject(fail('unavailable', 'export', 'the reader of the archive went away'));
    out.on('close', away);
    // The stream may be gone before anything was written.
    if ('destroyed' in out && out.destroyed === true) away();
    signal?.addEventListener('abort', () => reject(canceled(signal.reason)), { once: true });
    this.#broken = promise;
  }

  async folder(path: string): Promise<void> {
    await this.#write(header({ ...common, path, type: 'dir', mode: 0o755, size: 0 }));
  }

  async file(
    path: string,
    size: number,
    source: AsyncIterable<Uint8Array>,
    { mtimeNs = 0n, report }: { mtimeNs?: bigint; report?: (written: number) => void } = {},
  ): Promise<void> {
    await this.#write(header({ ...common, path, type: 'file', mode: 0o644, size, mtimeNs }));
    let written = 0;
    for await (const chunk of source) {
      written += chunk.length;
      if (written > size) break;
      await this.#write(chunk);
      report?.(written);
    }
    if (written !== size)
      throw fail('corrupt', 'store', `${path} has not the ${size} bytes that its manifest says`);
    await this.#write(padding(size));
  }

  async json(path: string, value: unknown): Promise<void> {
    const bytes = Buffer.from(JSON.stringify(value));
    await this.file(path, bytes.length, piece(bytes));
  }

  async end(): Promise<void> {
    await this.#write(endOfArchive);
    this.#out.end();
    // stdout is never closed; the process that ends with it waits until its reader has taken everything (cli/print.ts).
    if (this.#out === process.stdout) return;
    await Promise.race([finished(this.#out as NodeJS.WritableStream), this.#failed()]);
  }

  /** Rejects when the stream fails. Its close after the end is no failure. */
  async #failed(): Promise<never> {
    try {
      return await this.#broken;
    } catch (err) {
      if (err instanceof Error && err.message.startsWith('the reader of')) return new Promise(() => {});
      throw err;
    }
  }

  async #write(chunk: Uint8Array): Promise<void> {
    throwIfAborted(this.#signal);
    if (chunk.length === 0 || this.#out.write(chunk)) return;
    const wait = new AbortController();
    try {
      await Promise.race([once(this.#out, 'drain', { signal: wait.signal }), this.#broken]);
    } finally {
      wait.abort();
    }
  }
}

async function* piece(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

const common = { uid: 0, gid: 0, mtimeNs: 0n };
