/** Makes manifests, configs and an index in content from solved platforms. */

import { fail } from '../errors/index.ts';
import {
  type Descriptor,
  type Digest,
  digestOf,
  documentExcess,
  type Index,
  type Manifest,
  mediaTypes,
  normalizePlatform,
  type Platform,
} from '../oci/index.ts';
import { contentRefLabels, hold, snapshotRefLabel } from '../store/index.ts';
import { isDue, nextTurn } from '../workers/index.ts';
import { type Annotations, annotationsAt, checkAnnotations } from './annotations.ts';
import {
  type AttestationOptions,
  type CommittedAttestations,
  commitAttestations,
  wantedAttestations,
} from './attestations.ts';
import { configBytes, finishConfig, isConfigOnly, timed } from './config.ts';
import type { KeptLayers } from './image-plan.ts';
import { type ExportLayer, exportLayers, type LayerOptions } from './layers.ts';
import { madeAt } from './made-now.ts';
import { squashed } from './squash.ts';
import type { ExportContext, ExportRequest, MadeNow, PlatformResult, StoredOutput } from './types.ts';

interface CommitOptions extends LayerOptions {
  /** Makes one layer of those that the build has added to its base. */
  squash?: boolean;
  annotations: Annotations;
  /** Makes an index, even for one platform. */
  index?: boolean;
  /** How attestations go with the image; undefined: they do not. */
  attestations?: AttestationOptions;
  /** Dates an image whose build changed only the config by its making, not by its base. */
  madeNow?: MadeNow;
  /** The creation time of configs, in seconds since the epoch. It is used even where times are not rewritten. */
  created?: number;
}

/** The image of one platform, in content. */
interface CommittedImage {
  platform: Platform;
  descriptor: Descriptor;
  config: Descriptor;
  layers: Descriptor[];
  /** The sum of the layers' tars, in bytes. */
  size: number;
  /** The snapshots of the layers, as far as there are some. */
  snapshots: (string | undefined)[];
  /** A layer → the reference of an image that has its blob, where one is known. */
  sources: Map<Digest, string>;
  created?: string;
  /** The labels in the image's config. */
  labels: Record<string, string>;
}

/** An image in content, under the context's lease. */
export interface Committed {
  /** Of the images that statements go with. */
  attestations: CommittedAttestations[];
  /** The manifest, or the index when there are several platforms. */
  target: Descriptor;
  images: CommittedImage[];
  size: number;
  /** The manifests, configs and the index, for callers that keep them longer than the image. */
  documents: Buffer[];
}

/** Makes the image of all platforms, under the context's lease. */
export async function commitImage(
  asked: ExportRequest,
  ctx: ExportContext,
  options: CommitOptions,
): Promise<Committed> {
  const request = options.squash ? await squashRequest(asked, ctx) : asked;
  checkAnnotations(
    options.annotations,
    request.results.map(({ platform }) => platform),
  );
  const step = started(ctx, 'exporting layers');
  const drafts = await Promise.all(
    request.results.map((result, i) =>
      draftOne(result, ctx, options, (diffIds) => request.inlineCache?.(i, diffIds)),
    ),
  );
  step();
  const images: CommittedImage[] = [];
  const documents: Buffer[] = [];
  for (const draft of drafts) images.push(await commitOne(draft, ctx, documents));
  const size = images.reduce((sum, image) => sum + image.size, 0);
  const [first] = images;
  const indexNotes = annotationsAt(options.annotations, 'index');
  const isIndex = images.length !== 1 || indexNotes !== undefined || options.index === true;
  const attestations = await attested(request, images, { isIndex, ctx, options, documents });
  if (first !== undefined && !isIndex && attestations.length === 0) {
    return { target: first.descriptor, images, attestations, size, documents };
  }
  const target = await commitIndex({ images, attestations }, ctx, options, documents);
  return { target, images, attestations, size, documents };
}

async function squashRequest(request: ExportRequest, ctx: ExportContext): Promise<ExportRequest> {
  const step = started(ctx, 'squashing layers');
  const results = await Promise.all(request.results.map((result) => squashed(result, ctx)));
  step();
  return { ...request, results };
}

/** Commits what is stated of the images. */
async function attested(
  request: ExportRequest,
  images: readonly CommittedImage[],
  at: { isIndex: boolean; ctx: ExportContext; options: CommitOptions; documents: Buffer[] },
): Promise<CommittedAttestations[]> {
  const { isIndex, ctx, options, documents } = at;
  const wanted = wantedAttestations(request, options.attestations, isIndex);
  const committed: CommittedAttestations[] = [];
  for (const [i, image] of images.entries()) {
    const list = wanted[i] ?? [];
    if (options.attestations === undefined || list.length === 0) continue;
    if (isDue()) await nextTurn();
    const put = async (manifest: Manifest) => {
      const descriptor = await putDocument(manifest, [manifest.config, ...manifest.layers], ctx, documents);
      started(ctx, `exporting attestation manifest ${descriptor.digest}`)();
      return descriptor;
    };
    const stated = { ...image, ref: request.results[i]?.ref };
    committed.push(await commitAttestations(stated, list, request.names, options.attestations, ctx, put));
  }
  return committed;
}

/** The image of one platform, before its manifest is written. Its layers are here, as far as they are wanted. */
interface Draft {
  platform: Platform;
  layers: ExportLayer[];
  config: { bytes: Buffer; descriptor: Descriptor; labels: Record<string, string> };
  manifest: Manifest;
  /** The children that the manifest keeps in content. */
  present: Descriptor[];
  created?: string;
  /** The labels in the image's config. */
  labels: Record<string, string>;
}

async function draftOne(
  { ref, config, platform, baseHistory }: PlatformResult,
  ctx: ExportContext,
  options: CommitOptions,
  inlineCache: (diffIds: readonly Digest[]) => Promise<Buffer | undefined> | undefined,
): Promise<Draft> {
  const { layers, top, bring } = await exportLayers(ref, ctx, options);
  const inline = await inlineCache(layers.map(({ diffId }) => diffId));
  if (isDue()) await nextTurn();
  let finished = finishConfig(config, layers, options.created, baseHistory);
  if (isDue()) await nextTurn();
  if (options.madeNow !== undefined && options.created === undefined && isConfigOnly(config)) {
    finished = timed(
      finished,
      config,
      options.madeNow === 'anew' ? Date.now() : await madeAt(ctx.store, finished),
    );
  }
  if (isDue()) await nextTurn();
  // A base image's own is about other steps.
  finished['moby.buildkit.cache.v0'] = inline?.toString('base64');
  const bytes = configBytes(finished);
  const excess = documentExcess(bytes);
  if (excess !== undefined) {
    throw fail('exhausted', 'export', `the config of the image has ${excess}`, {
      hint: 'Use fewer labels, variables, ports and instructions.',
    });
  }
  if (isDue()) await nextTurn();
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: options.ociTypes ? mediaTypes.ociManifest : mediaTypes.dockerManifest,
    config: {
      mediaType: options.ociTypes ? mediaTypes.ociConfig : mediaTypes.dockerConfig,
      digest: digestOf(bytes),
      size: bytes.length,
    },
    layers: layers.map(({ descriptor }) => descriptor),
  };
  const annotations = annotationsAt(options.annotations, 'manifest', platform);
  if (annotations !== undefined) manifest.annotations = annotations;
  if (options.keeps === 'all' && !(await hasWhole(manifest, ctx))) await bring();
  const present = [manifest.config, ...(await keptOf(layers, manifest, ctx, options.keeps))];
  return {
    platform,
    layers,
    config: {
      bytes,
      descriptor: manifest.config,
      labels:
        top === undefined || options.unpacked === false ? {} : snapshotRefLabel(ctx.store.snapshotter, top),
    },
    manifest,
    present,
    created: finished.created,
    labels: finished.config?.Labels ?? {},
  };
}

async function commitOne(
  { platform, layers, config, manifest, present, created, labels }: Draft,
  ctx: ExportContext,
  documents: Buffer[],
): Promise<CommittedImage> {
  const { lease, store } = ctx;
  documents.push(config.bytes);
  const [descriptor] = await Promise.all([
    putDocument(manifest, present, ctx, documents),
    store.content.put(config.bytes, { lease, labels: config.labels }),
  ]);
  for (const [what, digest] of [
    ['manifest', descriptor.digest],
    ['config', config.descriptor.digest],
  ] as const) {
    started(ctx, `exporting ${what} ${digest}`)();
  }
  return {
    platform,
    descriptor,
    config: config.descriptor,
    layers: manifest.layers,
    size: layers.reduce((sum, layer) => sum + layer.size, 0),
    snapshots: layers.map(({ snapshot }) => snapshot),
    sources: new Map(
      layers.flatMap(({ descriptor: { digest }, from }) => (from === undefined ? [] : [[digest, from]])),
    ),
    created,
    labels,
  };
}

/**
 * Whether the very same image is here already, with everything that it refers to. The lease then holds its manifest,
 * and all of it stays as long.
 */
async function hasWhole(manifest: Manifest, { store, lease }: ExportContext): Promise<boolean> {
  const digest = digestOf(documentBytes(manifest));
  const children = [manifest.config, ...manifest.layers];
  const known = await store.content.info(digest);
  if (known === undefined) return false;
  for (const [name, value] of Object.entries(contentRefLabels(children))) {
    if (known.labels[name] !== value) return false;
  }
  if (!(await hold(store, lease, { type: 'blob', id: digest }))) return false;
  const there = await Promise.all(children.map((child) => store.content.info(child.digest)));
  return there.every((info) => info !== undefined);
}

/** The layers that an image keeps. Layers that were only hashed are made when somebody needs them. */
async function keptOf(
  layers: readonly ExportLayer[],
  { layers: all }: Manifest,
  { store }: ExportContext,
  keeps: KeptLayers,
): Promise<readonly Descriptor[]> {
  if (keeps === 'all' || keeps === 'named') return all;
  const lasting = keeps === 'older' ? layers.filter(({ held }) => held !== true) : layers;
  const here = await Promise.all(
    lasting.map(async ({ descriptor }) =>
      (await store.content.info(descriptor.digest)) ? [descriptor] : [],
    ),
  );
  return here.flat();
}

async function commitIndex(
  { images, attestations }: Pick<Committed, 'images' | 'attestations'>,
  ctx: ExportContext,
  options: CommitOptions,
  documents: Buffer[],
): Promise<Descriptor> {
  const manifests = images.map(({ descriptor, platform }) => {
    const child: Descriptor = { ...descriptor, platform: normalizePlatform(platform) };
    const annotations = annotationsAt(options.annotations, 'manifest-descriptor', platform);
    if (annotations !== undefined) child.annotations = annotations;
    return child;
  });
  manifests.push(...attestations.map(({ entry }) => entry));
  const index: Index = {
    schemaVersion: 2,
    mediaType: options.ociTypes ? mediaTypes.ociIndex : mediaTypes.dockerIndex,
    manifests,
  };
  const annotations = annotationsAt(options.annotations, 'index');
  if (annotations !== undefined) index.annotations = annotations;
  const descriptor = await putDocument(index, manifests, ctx, documents);
  started(ctx, `exporting manifest list ${descriptor.digest}`)();
  return descriptor;
}

function documentBytes(document: Manifest | Index): Buffer {
  return Buffer.from(JSON.stringify(document, undefined, 2));
}

async function putDocument(
  document: Manifest | Index,
  children: readonly Descriptor[],
  { store, lease }: ExportContext,
  documents: Buffer[],
): Promise<Descriptor> {
  const bytes = documentBytes(document);
  documents.push(bytes);
  const digest = await store.content.put(bytes, { lease, labels: contentRefLabels(children) });
  return { mediaType: document.mediaType ?? mediaTypes.ociManifest, digest, size: bytes.length };
}

/** Starts a line of progress; the result is called when the work is done. */
export function started(ctx: ExportContext, id: string): () => void {
  ctx.progress.report(id, { current: 0, total: 0 });
  return () => ctx.progress.report(id, { current: 0, total: 0, done: true });
}

/** The response about a committed image, with the names that buildx writes into its metadata file. */
export function imageMetadata(
  { target, images }: Committed,
  names: readonly string[],
): Record<string, unknown> {
  const metadata: Record<string, unknown> = {};
  const [only] = images;
  const annotations: Record<string, string> = { ...target.annotations };
  const isImage = only !== undefined && target.digest === only.descriptor.digest;
  if (only !== undefined && images.length === 1)
    metadata['containerimage.config.digest'] = only.config.digest;
  if (isImage) {
    annotations['config.digest'] = only.config.digest;
    if (only.created !== undefined) annotations['org.opencontainers.image.created'] = only.created;
  }
  const descriptor: Descriptor = { ...target, annotations };
  if (isImage) descriptor.platform = normalizePlatform(only.platform);
  metadata['containerimage.descriptor'] = descriptor;
  metadata['containerimage.digest'] = target.digest;
  if (names.length > 0) metadata['image.name'] = names.join(',');
  return metadata;
}

/** The image ID: the config's digest of the first platform. */
export function imageIdOf({ images }: Committed): Digest | undefined {
  return images[0]?.config.digest;
}

/** The image that an output has put into the store. */
export function storedOutput(committed: Committed, names: readonly string[]): StoredOutput | undefined {
  const [first] = committed.images;
  return first && { id: first.config.digest, names, labels: first.labels };
}
