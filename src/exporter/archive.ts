/**
 * `type=oci` and `type=docker`: an OCI image layout, as a tar or (tar=false) as a folder. docker's form also has the
 * manifest.json that `docker load` reads. https://github.com/opencontainers/image-spec/blob/main/image-layout.md
 */
import { fail, throwIfAborted } from '../errors/index.ts';
import { outputError } from '../fs/index.ts';
import {
  type Descriptor,
  type Digest,
  familiarName,
  fullNameAnnotation,
  hex,
  type Index,
  layoutMark,
  mediaTypes,
  normalizePlatform,
  parseReference,
  refNameAnnotation,
} from '../oci/index.ts';
import type { ClientContent } from '../session/index.ts';
import { type Annotations, annotationsAt, needOciTypes, parseAnnotations } from './annotations.ts';
import { attestationOptions } from './attestations.ts';
import { epochOf, notesOf, parseImageAttrs } from './attrs.ts';
import { type Committed, commitImage, imageIdOf, imageMetadata, started } from './commit.ts';
import { writeLayoutFolder } from './layout-folder.ts';
import { TarStream } from './tar-stream.ts';
import type { ExportContext, Exporter, PlatformResult } from './types.ts';

/** A file of the layout: a few bytes, or a blob of content. */
export type LayoutFile = { path: string } & (
  | { data: Buffer }
  | { blob: Pick<Descriptor, 'digest' | 'size'> }
);

/** Makes the exporter. Throws `invalid` for an unknown attribute. */
export function archiveExporter(type: 'oci' | 'docker', attrs: Record<string, string>): Exporter {
  const want = parseImageAttrs(type, attrs);
  return {
    title: type === 'oci' ? 'exporting to oci image format' : 'exporting to docker image format',
    async export(request, ctx) {
      const { sink } = ctx;
      if (sink === undefined)
        throw fail('invalid', 'export', `output type=${type} has nowhere to go: give it a dest`);
      if (!('send' in sink) && want.tar !== 'tar' in sink) {
        throw fail(
          'invalid',
          'export',
          `output type=${type},tar=${want.tar} cannot go to ${want.tar ? 'a folder' : 'a stream'}`,
          {
            hint: want.tar ? 'Add tar=false for a folder.' : 'Give it dest=FOLDER, or leave tar=false out.',
          },
        );
      }
      if (type === 'docker' && request.results.length > 1) {
        throw fail('unsupported', 'export', 'a docker archive holds one platform only', {
          hint: 'Build one platform, or use type=oci.',
        });
      }
      const annotations = [...parseAnnotations(request.annotations), ...want.annotations];
      const created = epochOf(want.sourceDateEpoch, request.sourceDateEpoch);
      for (const short of notesOf(want, created)) ctx.progress.warn({ level: 1, short, detail: [] });
      const attestations = type === 'oci' ? attestationOptions(want, request, 'with-index') : undefined;
      if (type === 'docker' && request.results.some(isAttested)) {
        const short = 'a docker archive holds no attestations: the output has none';
        ctx.progress.warn({ level: 1, short, detail: [] });
      }
      const committed = await commitImage(request, ctx, {
        compression: want.compression ?? { type: 'gzip' },
        force: want.forceCompression,
        blobs: 'all',
        keeps: 'all',
        epoch: want.rewriteTimestamp ? created : undefined,
        created,
        ociTypes:
          (want.ociTypes ?? (type === 'oci' || request.dockerTypes !== true)) || needOciTypes(annotations),
        attestations,
        keepForeign: want.keepForeign,
        annotations,
        index: type === 'oci' && request.index,
        squash: want.squash,
      });
      throwIfAborted(ctx.signal);
      const metadata = imageMetadata(committed, request.names);
      const files = await layoutFiles(type, committed, request.names, annotations, ctx);
      if ('files' in sink) {
        const done = started(ctx, 'copying files');
        await writeLayoutFolder(sink.files, files, ctx).catch((err) => {
          throw outputError(err, sink.files);
        });
        done();
      } else if ('content' in sink && !want.tar) await sendBlobs(files, await sink.content(), ctx);
      else await sendTar(files, await sink.tar(textsOf(metadata)), ctx);
      return {
        metadata,
        imageId: imageIdOf(committed),
        descriptor: committed.target,
        documents: committed.documents,
        size: committed.size,
      };
    },
  };
}

/** Whether more is stated of a result than what goes with images that have an index anyway. */
function isAttested({ attestations = [] }: PlatformResult): boolean {
  return attestations.some(({ inlineOnly }) => !inlineOnly);
}

/** A response as text, as BuildKit's API has it: a value that is not text becomes base64 of JSON. */
function textsOf(metadata: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(metadata).map(([key, value]) => [
      key,
      typeof value === 'string' ? value : Buffer.from(JSON.stringify(value)).toString('base64'),
    ]),
  );
}

async function layoutFiles(
  type: 'oci' | 'docker',
  committed: Committed,
  names: readonly string[],
  notes: Annotations,
  ctx: ExportContext,
): Promise<LayoutFile[]> {
  const { target, images, attestations } = committed;
  const blobs = new Map<Digest, Descriptor>();
  for (const descriptor of [
    target,
    ...images.flatMap((i) => [i.descriptor, i.config, ...i.layers]),
    ...attestations.flatMap(({ entry, blobs }) => [entry, ...blobs]),
  ]) {
    blobs.set(descriptor.digest, descriptor);
  }
  const files: LayoutFile[] = [];
  for (const blob of blobs.values()) {
    files.push({ path: `blobs/sha256/${hex(blob.digest)}`, blob });
  }
  const index: Index = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: indexEntries(committed, names, notes),
  };
  files.push({ path: 'index.json', data: Buffer.from(JSON.stringify(index)) });
  files.push({ path: 'oci-layout', data: Buffer.from(JSON.stringify(layoutMark)) });
  const [image] = images;
  if (type === 'docker' && image !== undefined) {
    const manifest = [
      {
        Config: `blobs/sha256/${hex(image.config.digest)}`,
        RepoTags: names.filter((name) => !name.includes('@')).map(familiarName),
        Layers: image.layers.map(({ digest }) => `blobs/sha256/${hex(digest)}`),
      },
    ];
    files.push({ path: 'manifest.json', data: Buffer.from(JSON.stringify(manifest)) });
  }
  throwIfAborted(ctx.signal);
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** One entry for each name, as containerd and buildx write them. */
function indexEntries(
  { target, images }: Committed,
  names: readonly string[],
  notes: Annotations,
): Descriptor[] {
  const [only] = images;
  const single = only !== undefined && target.digest === only.descriptor.digest;
  const base: Record<string, string> = {
    ...annotationsAt(notes, 'index-descriptor'),
    ...(single ? annotationsAt(notes, 'manifest-descriptor', only.platform) : undefined),
  };
  if (single && only.created !== undefined) base['org.opencontainers.image.created'] ??= only.created;
  const { mediaType, digest, size } = target;
  const entry = (annotations: Record<string, string>): Descriptor => ({
    mediaType,
    digest,
    size,
    ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
    ...(single ? { platform: normalizePlatform(only.platform) } : {}),
  });
  if (names.length === 0) return [entry(base)];
  return names.map((name) => {
    const { tag } = parseReference(name);
    const annotations: Record<string, string> = { [fullNameAnnotation]: name, ...base };
    if (tag !== undefined) annotations[refNameAnnotation] = tag;
    return entry(annotations);
  });
}

/** Sends the image's blobs into the client's store. The client itself writes the layout's other files. */
async function sendBlobs(
  files: readonly LayoutFile[],
  client: ClientContent,
  ctx: ExportContext,
): Promise<void> {
  const { signal, progress } = ctx;
  for (const file of files) {
    if ('data' in file) continue;
    throwIfAborted(signal);
    const { digest, size } = file.blob;
    let current = 0;
    const source = await ctx.store.content.read(digest);
    try {
      const counted = async function* () {
        for await (const chunk of source) {
          yield chunk as Buffer;
          current += (chunk as Buffer).length;
          progress.report(digest, { current, total: size });
        }
      };
      await client.write({ digest, size }, counted(), { signal });
    } finally {
      source.destroy();
    }
    progress.report(digest, { current: size, total: size, done: true });
  }
}

async function sendTar(
  files: readonly LayoutFile[],
  output: NodeJS.WritableStream,
  ctx: ExportContext,
): Promise<void> {
  const { content } = ctx.store;
  const total = files.reduce((sum, file) => sum + ('data' in file ? file.data.length : file.blob.size), 0);
  let current = 0;
  const say = (n: number) => {
    current += n;
    ctx.progress.report('sending tarball', { current, total });
  };
  say(0);
  const tar = new TarStream(output, ctx.signal);
  try {
    for (const dir of ['blobs', 'blobs/sha256']) await tar.folder(dir);
    for (const file of files) {
      if ('data' in file) {
        await tar.file(file.path, file.data.length, [file.data]);
        say(file.data.length);
        continue;
      }
      const source = await content.read(file.blob.digest);
      try {
        await tar.file(file.path, file.blob.size, source, say);
      } finally {
        source.destroy();
      }
    }
    await tar.end();
  } catch (err) {
    tar.abort(err);
    throw err;
  }
  ctx.progress.report('sending tarball', { current: total, total, done: true });
}
