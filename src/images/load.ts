/** `drydock load`: loads images from a tar written by docker, podman, skopeo or Drydock. */
import {
  aboutOf,
  blobsOf,
  checkSubject,
  type DocumentOrigin,
  danglingName,
  isImageEntry,
  parseIndex,
  parseManifest,
  readConfig,
  type StoredImage,
  storedAttestations,
  storedImages,
  withLease,
} from '../distribution/index.ts';
import { DrydockError, fail } from '../errors/index.ts';
import {
  type Descriptor,
  type Digest,
  documentExcess,
  familiarName,
  formatPlatform,
  fullNameAnnotation,
  isIndexType,
  isManifestType,
  type Manifest,
  mediaTypes,
  normalizeName,
  type Platform,
  platformMatches,
  refNameAnnotation,
  typed,
} from '../oci/index.ts';
import type { ReportStatus } from '../progress/index.ts';
import { contentRefLabels, type Store } from '../store/index.ts';
import { Archive, bad } from './archive.ts';
import { type KnownLayers, noKnownLayers } from './known-layers.ts';
import { nameImage } from './name.ts';

interface LoadOptions {
  lease?: string;
  signal?: AbortSignal;
  /** Reports the bytes of each blob read. */
  report?: ReportStatus;
  /** Loads only these platforms of an index that has any of them. */
  platforms?: readonly Platform[];
  /** Layers that are here; the lease that is given holds them. */
  known?: KnownLayers;
}

interface Loaded {
  /** The name that people write; undefined for an image without a name in the archive. */
  name?: string;
  /** The digest of the config. */
  id: Digest;
  target: Descriptor;
  /** The images of the index (or the only one) that are in content. */
  images: readonly StoredImage[];
}

interface Named {
  target: Descriptor;
  names: string[];
}

const origin: DocumentOrigin = { name: 'the image archive', hop: 'client' };

/**
 * Loads all images of an archive: an OCI layout tar, or one of `docker save` of any version since 1.10, plain or
 * compressed. The source is read once and never held in memory. Names are given at the end, when the whole archive has
 * proved sound; otherwise nothing is kept. Throws `corrupt`, `unsupported`, `exhausted`, `canceled`.
 */
export async function loadImages(
  store: Store,
  source: AsyncIterable<Uint8Array>,
  options: LoadOptions = {},
): Promise<Loaded[]> {
  try {
    const all = await withLease(store, options.lease, async (lease) => {
      const { known = noKnownLayers, platforms = [] } = options;
      const archive = await Archive.read(store, source, { ...options, lease, leaveOut: known.layers });
      const images = await imagesOf(store, archive, { lease, platforms, known });
      const loaded: Loaded[] = [];
      for (const { target, names } of images) {
        const here = await storedImages(store, 'archive', target);
        const [image] = here;
        if (image === undefined) throw bad('it holds no image that is whole');
        for (const name of names) await nameImage(store, name, target);
        if (names.length === 0) await nameImage(store, danglingName(target.digest), target);
        const ids = names.length === 0 ? [undefined] : names.map(familiarName);
        for (const name of ids) loaded.push({ name, id: image.id, target, images: here });
      }
      return loaded;
    });
    // The platforms that were left out are in content until then.
    if ((options.platforms ?? []).length > 0) await store.gc();
    return all;
  } catch (err) {
    // Nobody needs the parts that were read of a bad archive.
    if (options.lease === undefined) await store.gc().catch(() => {});
    throw err;
  }
}

/** Throws `not-found` in dockerd's words when images lack a platform asked for; they are loaded all the same. */
export function checkLoadedPlatforms(loaded: readonly Loaded[], platforms: readonly Platform[]): void {
  for (const platform of platforms) {
    const without = loaded.filter(
      ({ images }) => !images.some(({ config }) => platformMatches(platform, config)),
    );
    const names = without.map(({ name, id }) => name ?? id);
    if (names.length === 0) continue;
    const what =
      names.length === 1
        ? `image ${names[0]} was loaded, but doesn't`
        : `images [${names.join(', ')}] were loaded, but don't`;
    const have = new Set(without.flatMap(({ images }) => images.map(({ config }) => formatPlatform(config))));
    const text = `${what} provide the requested platform (${formatPlatform(platform)})`;
    throw fail('not-found', 'client', text, { hint: `In the archive: ${[...have].join(', ')}.` });
  }
}

/** What the images of an archive are kept with. */
interface Keeping {
  lease: string;
  platforms: readonly Platform[];
  known: KnownLayers;
}

async function imagesOf(store: Store, archive: Archive, keeping: Keeping): Promise<Named[]> {
  const index = archive.documents.get('index.json');
  const docker = archive.documents.get('manifest.json');
  const images: Named[] = [];
  if (index !== undefined) {
    const tags = docker === undefined ? new Map() : tagsByConfig(archive, docker);
    for (const entry of parseIndex(index, origin).manifests) {
      if (!isImageEntry(entry)) continue;
      const { mediaType, digest, size } = entry;
      const { target, configs } = await keepTarget(store, { mediaType, digest, size }, keeping);
      const named = nameOf(entry);
      const names = named === undefined ? configs.flatMap((config) => tags.get(config) ?? []) : [named];
      const same = images.find((each) => each.target.digest === target.digest);
      if (same === undefined) images.push({ target, names: [...new Set(names)] });
      else same.names = [...new Set([...same.names, ...names])];
    }
  } else if (docker !== undefined) {
    for (const item of dockerItems(docker)) images.push(await fromDocker(store, archive, item, keeping));
  } else if (archive.documents.has('repositories')) {
    throw fail('unsupported', 'client', 'the image archive is in the format of docker before 1.10', {
      hint: 'Load it into a current docker and save it again.',
    });
  }
  if (images.length === 0) {
    throw fail(
      'corrupt',
      'client',
      'this is no image archive: it has neither manifest.json nor index.json with an image',
      {
        hint: 'It wants a tar made by `docker save`, `drydock save` or an OCI layout; a file tree becomes an image with a Dockerfile (`FROM scratch`, `ADD`).',
      },
    );
  }
  return images;
}

/**
 * Checks that all of a target is in content, or known, and labels it for the collector. Returns the digests of the
 * configs, and the target: another manifest where known layers have other digests here.
 */
async function keepTarget(
  store: Store,
  target: Descriptor,
  keeping: Keeping,
  depth = 0,
): Promise<{ target: Descriptor; configs: Digest[] }> {
  const { lease, platforms } = keeping;
  const bytes = await must(store, target);
  if (isIndexType(target.mediaType)) {
    if (depth > 3) throw bad('its indexes are nested too deep');
    const children: Descriptor[] = [];
    const configs: Digest[] = [];
    const { manifests } = parseIndex(bytes, origin);
    const fits = ({ platform: has }: Descriptor) =>
      has !== undefined && platforms.some((platform) => platformMatches(platform, has));
    for (const child of manifests.some(fits) ? manifests.filter(fits) : manifests) {
      // A layout may have only some of the platforms.
      if ((await store.content.info(child.digest)) === undefined) continue;
      if (aboutOf(child) !== undefined) continue;
      children.push(child);
      if (isImageEntry(child))
        configs.push(
          ...(await keepTarget(store, child, { ...keeping, known: noKnownLayers }, depth + 1)).configs,
        );
    }
    children.push(...(await keepAttestations(store, target, children, lease)));
    await store.content.put(bytes, { lease, labels: contentRefLabels(children) });
    return { target, configs };
  }
  if (!isManifestType(target.mediaType))
    throw bad(`${JSON.stringify(target.mediaType)} is no image`, 'unsupported');
  const manifest = parseManifest(bytes, origin);
  await readConfig(await must(store, manifest.config), manifest, origin);
  for (const layer of manifest.layers) {
    if (keeping.known.layers.has(layer.digest)) continue;
    const info = await store.content.info(layer.digest);
    if (info === undefined) throw bad(`the layer ${layer.digest} is missing`);
    if (info.size !== layer.size)
      throw bad(`the layer ${layer.digest} has ${info.size} bytes, not ${layer.size}`);
  }
  return {
    target: await putManifest(store, target, manifest, bytes, keeping),
    configs: [manifest.config.digest],
  };
}

/**
 * Puts a manifest with its labels, in which known layers are named as they are here. Returns its descriptor; `bytes` are
 * put as they are when nothing is named otherwise.
 */
async function putManifest(
  store: Store,
  { mediaType }: Pick<Descriptor, 'mediaType'>,
  manifest: Manifest,
  bytes: Buffer,
  { lease, known }: Keeping,
): Promise<Descriptor> {
  const isOci = mediaType === mediaTypes.ociManifest;
  const layers = manifest.layers.map((layer) => {
    const here = known.layers.get(layer.digest);
    return here === undefined || here.digest === layer.digest ? layer : typed(here, isOci);
  });
  const isSame = layers.every((layer, i) => layer === manifest.layers[i]);
  const document = isSame ? bytes : Buffer.from(JSON.stringify({ ...manifest, layers }));
  // A known layer may be a snapshot alone, which the config keeps.
  const there = await Promise.all(
    layers.map(async (layer) => ((await store.content.info(layer.digest)) === undefined ? [] : [layer])),
  );
  if (Object.keys(known.labels).length > 0) {
    await store.content.put(await must(store, manifest.config), { lease, labels: known.labels });
  }
  const labels = contentRefLabels([manifest.config, ...there.flat()]);
  return { mediaType, digest: await store.content.put(document, { lease, labels }), size: document.length };
}

/** Keeps what is stated of images that are kept, where all of it is there. Returns the entries of the index. */
async function keepAttestations(
  store: Store,
  target: Descriptor,
  images: readonly Descriptor[],
  lease: string,
): Promise<Descriptor[]> {
  const kept: Descriptor[] = [];
  for (const { entry, document, about } of await storedAttestations(store, origin.name, target)) {
    if (!images.some(({ digest }) => digest === about)) continue;
    checkSubject({ entry, document, about }, origin);
    const labels = contentRefLabels(blobsOf(document));
    await store.content.put(await must(store, entry), { lease, labels });
    kept.push(entry);
  }
  return kept;
}

async function must(store: Store, { digest }: Pick<Descriptor, 'digest'>): Promise<Buffer> {
  try {
    return await store.content.bytes(digest);
  } catch (err) {
    if (err instanceof DrydockError && err.code === 'not-found') throw bad(`the blob ${digest} is missing`);
    throw err;
  }
}

/** The name in containerd's annotation is whole; the OCI's annotation counts as a whole name if it looks like one. */
function nameOf({ annotations }: Descriptor): string | undefined {
  const whole = annotations?.[fullNameAnnotation];
  if (whole !== undefined) return checkedName(whole);
  const short = annotations?.[refNameAnnotation];
  return short !== undefined && /[/:]/.test(short) ? checkedName(short) : undefined;
}

function checkedName(text: string): string {
  try {
    return normalizeName(text);
  } catch (cause) {
    throw fail(
      'corrupt',
      'client',
      `the image archive names an image ${JSON.stringify(text)}, which is no name`,
      { cause },
    );
  }
}

interface DockerItem {
  Config: string;
  RepoTags: string[];
  Layers: string[];
}

function dockerItems(bytes: Buffer): DockerItem[] {
  const excess = documentExcess(bytes);
  if (excess !== undefined) throw bad(`its manifest.json has ${excess}`, 'exhausted');
  let items: unknown;
  try {
    items = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw bad('its manifest.json is not JSON');
  }
  const texts = (value: unknown): value is string[] =>
    Array.isArray(value) && value.every((item) => typeof item === 'string');
  if (!Array.isArray(items)) throw bad('its manifest.json is no list');
  return items.map((item: { Config?: unknown; RepoTags?: unknown; Layers?: unknown } | null) => {
    const layers = item?.Layers ?? [];
    const tags = item?.RepoTags ?? [];
    if (typeof item?.Config !== 'string' || !texts(layers) || !texts(tags))
      throw bad('its manifest.json is malformed');
    return { Config: item.Config, RepoTags: tags, Layers: layers };
  });
}

function tagsByConfig(archive: Archive, docker: Buffer): Map<Digest, string[]> {
  const tags = new Map<Digest, string[]>();
  for (const item of dockerItems(docker)) {
    const config = archive.blob(item.Config);
    if (config !== undefined) tags.set(config.digest, item.RepoTags.map(checkedName));
  }
  return tags;
}

/** Makes a manifest for an image that an older `docker save` wrote without one. */
async function fromDocker(
  store: Store,
  archive: Archive,
  item: DockerItem,
  keeping: Keeping,
): Promise<Named> {
  const config = archive.blob(item.Config);
  if (config === undefined) throw bad(`the config ${JSON.stringify(item.Config)} is missing`);
  const layers = item.Layers.map((path): Descriptor => {
    const blob = archive.blob(path);
    if (blob === undefined) throw bad(`the layer ${JSON.stringify(path)} is missing`);
    const mediaType =
      blob.compression === 'gzip'
        ? mediaTypes.dockerLayerGzip
        : blob.compression === 'zstd'
          ? mediaTypes.dockerLayerZstd
          : mediaTypes.dockerLayer;
    if (blob.compression === 'xz' || blob.compression === 'bzip2') {
      throw bad(`the layer ${JSON.stringify(path)} is compressed with ${blob.compression}`, 'unsupported');
    }
    return { mediaType, digest: blob.digest, size: blob.size };
  });
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.dockerManifest,
    config: { mediaType: mediaTypes.dockerConfig, digest: config.digest, size: config.size },
    layers,
  };
  const image = await readConfig(await must(store, config), manifest, origin);
  for (const [i, layer] of layers.entries()) {
    const diffId = image.rootfs.diff_ids[i];
    if (layer.mediaType === mediaTypes.dockerLayer && layer.digest !== diffId) {
      throw bad(
        `the layer ${JSON.stringify(item.Layers[i])} has the digest ${layer.digest}, its config says ${diffId}`,
      );
    }
  }
  const bytes = Buffer.from(JSON.stringify(manifest));
  const target = await putManifest(store, { mediaType: mediaTypes.dockerManifest }, manifest, bytes, keeping);
  return { target, names: [...new Set(item.RepoTags.map(checkedName))] };
}
