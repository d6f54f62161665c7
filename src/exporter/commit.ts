/** Solved platforms become manifests, configs and an index in content. */

import { normalizePlatform } from '../oci/platform.ts';
import {
  type Descriptor,
  type Digest,
  type Index,
  type Manifest,
  mediaTypes,
  type Platform,
} from '../oci/types.ts';
import { contentRefLabels, snapshotRefLabel } from '../store/labels.ts';
import { type Annotations, annotationsAt, checkAnnotations } from './annotations.ts';
import { configBytes, finishConfig } from './config.ts';
import { exportLayers, type LayerOptions } from './layers.ts';
import type { ExportContext, ExportRequest, PlatformResult } from './types.ts';

export interface CommitOptions extends LayerOptions {
  annotations: Annotations;
  /** An index, also of one platform. */
  index?: boolean;
  /** Creation time of configs, seconds since the epoch; also where times are not rewritten. */
  created?: number;
}

/** One platform's image in content. */
export interface CommittedImage {
  platform: Platform;
  descriptor: Descriptor;
  config: Descriptor;
  layers: Descriptor[];
  /** Bytes of the layers' tars. */
  size: number;
  /** Snapshots of the layers, as far as there are some. */
  snapshots: (string | undefined)[];
  created?: string;
}

export interface Committed {
  /** Manifest, or index when there are several platforms. */
  target: Descriptor;
  images: CommittedImage[];
  size: number;
}

/** Makes the image of all platforms, under the context's lease. */
export async function commitImage(
  request: ExportRequest,
  ctx: ExportContext,
  options: CommitOptions,
): Promise<Committed> {
  checkAnnotations(
    options.annotations,
    request.results.map(({ platform }) => platform),
  );
  const step = started(ctx, 'exporting layers');
  const layered = await Promise.all(request.results.map(({ ref }) => exportLayers(ref, ctx, options)));
  step();
  const images: CommittedImage[] = [];
  for (const [i, result] of request.results.entries()) {
    images.push(await commitOne(result, layered[i]!, ctx, options));
  }
  const size = images.reduce((sum, image) => sum + image.size, 0);
  const [first] = images;
  const indexNotes = annotationsAt(options.annotations, 'index');
  if (first !== undefined && images.length === 1 && indexNotes === undefined && options.index !== true) {
    return { target: first.descriptor, images, size };
  }
  return { target: await commitIndex(images, ctx, options), images, size };
}

async function commitOne(
  { config, platform, inlineCache }: PlatformResult,
  { layers, top }: Awaited<ReturnType<typeof exportLayers>>,
  ctx: ExportContext,
  options: CommitOptions,
): Promise<CommittedImage> {
  const { content, snapshotter } = ctx.store;
  const inline = await inlineCache?.(layers.map(({ diffId }) => diffId));
  const finished = finishConfig(config, layers, options.created);
  // A base image's own is about other steps.
  finished['moby.buildkit.cache.v0'] = inline?.toString('base64');
  const bytes = configBytes(finished);
  const labels = top === undefined ? {} : snapshotRefLabel(snapshotter, top);
  const configDescriptor: Descriptor = {
    mediaType: options.ociTypes ? mediaTypes.ociConfig : mediaTypes.dockerConfig,
    digest: await content.put(bytes, { lease: ctx.lease, labels }),
    size: bytes.length,
  };
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: options.ociTypes ? mediaTypes.ociManifest : mediaTypes.dockerManifest,
    config: configDescriptor,
    layers: layers.map(({ descriptor }) => descriptor),
  };
  const annotations = annotationsAt(options.annotations, 'manifest', platform);
  if (annotations !== undefined) manifest.annotations = annotations;
  const present =
    options.blobs === 'all' ? [manifest.config, ...manifest.layers] : await presentOf(manifest, ctx);
  const descriptor = await putDocument(manifest, present, ctx);
  for (const [what, digest] of [
    ['manifest', descriptor.digest],
    ['config', configDescriptor.digest],
  ] as const) {
    started(ctx, `exporting ${what} ${digest}`)();
  }
  return {
    platform,
    descriptor,
    config: configDescriptor,
    layers: manifest.layers,
    size: layers.reduce((sum, layer) => sum + layer.size, 0),
    snapshots: layers.map(({ snapshot }) => snapshot),
    created: finished.created,
  };
}

/** The children of a manifest that are in content: layers that are only hashed are made when somebody needs them. */
async function presentOf(manifest: Manifest, { store }: ExportContext): Promise<Descriptor[]> {
  const here = await Promise.all(
    manifest.layers.map(async (layer) => ((await store.content.info(layer.digest)) ? [layer] : [])),
  );
  return [manifest.config, ...here.flat()];
}

async function commitIndex(
  images: readonly CommittedImage[],
  ctx: ExportContext,
  options: CommitOptions,
): Promise<Descriptor> {
  const manifests = images.map(({ descriptor, platform }) => {
    const child: Descriptor = { ...descriptor, platform: normalizePlatform(platform) };
    const annotations = annotationsAt(options.annotations, 'manifest-descriptor', platform);
    if (annotations !== undefined) child.annotations = annotations;
    return child;
  });
  const index: Index = {
    schemaVersion: 2,
    mediaType: options.ociTypes ? mediaTypes.ociIndex : mediaTypes.dockerIndex,
    manifests,
  };
  const annotations = annotationsAt(options.annotations, 'index');
  if (annotations !== undefined) index.annotations = annotations;
  const descriptor = await putDocument(index, manifests, ctx);
  started(ctx, `exporting manifest list ${descriptor.digest}`)();
  return descriptor;
}

async function putDocument(
  document: Manifest | Index,
  children: readonly Descriptor[],
  { store, lease }: ExportContext,
): Promise<Descriptor> {
  const bytes = Buffer.from(JSON.stringify(document, undefined, 2));
  const digest = await store.content.put(bytes, { lease, labels: contentRefLabels(children) });
  return { mediaType: document.mediaType ?? mediaTypes.ociManifest, digest, size: bytes.length };
}

/** Starts a progress line; call the result when it is done. */
export function started(ctx: ExportContext, id: string): () => void {
  ctx.progress.report(id, { current: 0, total: 0 });
  return () => ctx.progress.report(id, { current: 0, total: 0, done: true });
}

/** What is told of a committed image, under the names that buildx writes into its metadata file. */
export function imageMetadata(
  { target, images }: Committed,
  names: readonly string[],
): Record<string, unknown> {
  const metadata: Record<string, unknown> = {};
  const [only] = images;
  const annotations: Record<string, string> = { ...target.annotations };
  if (only !== undefined && images.length === 1) {
    metadata['containerimage.config.digest'] = only.config.digest;
    annotations['config.digest'] = only.config.digest;
    if (only.created !== undefined) annotations['org.opencontainers.image.created'] = only.created;
  }
  const descriptor: Descriptor = { ...target, annotations };
  if (only !== undefined && images.length === 1) descriptor.platform = normalizePlatform(only.platform);
  metadata['containerimage.descriptor'] = descriptor;
  metadata['containerimage.digest'] = target.digest;
  if (names.length > 0) metadata['image.name'] = names.join(',');
  return metadata;
}

/** The image ID: the config's digest of the first platform. */
export function imageIdOf({ images }: Committed): Digest | undefined {
  return images[0]?.config.digest;
}
