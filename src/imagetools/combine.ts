/** Makes an index of manifests that registries have, as `docker buildx imagetools create` does. Pure. */
import { isImageEntry, parseIndex } from '../distribution/index.ts';
import { fail } from '../errors/index.ts';
import {
  type Descriptor,
  type Digest,
  digestOf,
  formatPlatform,
  isIndexType,
  mediaTypes,
  type Platform,
  platformMatches,
} from '../oci/index.ts';

/** A manifest or an index that a registry has. */
export interface Source {
  /** Its repository: `reg.example/app`. */
  repository: string;
  /** A manifest's descriptor has the platform of its image. */
  descriptor: Descriptor;
  bytes: Buffer;
}

/** An annotation, and where it goes. */
export interface IndexAnnotation {
  place: 'index' | 'manifest-descriptor';
  /** `linux/arm64`: for the descriptors of this platform alone. */
  platform?: string;
  key: string;
  value: string;
}

interface CombineOptions {
  annotations: readonly IndexAnnotation[];
  /** Keep the images of these platforms, and what is stated of them; empty: all. */
  platforms: readonly Platform[];
  /** Make an index of a single manifest, too. */
  preferIndex: boolean;
}

/** What is made: the document to put under a tag, and where the manifests are that it lists. */
interface Combined {
  descriptor: Descriptor;
  bytes: Buffer;
  /** The manifests that must be there before the document. */
  parts: { descriptor: Descriptor; repository: string }[];
}

/**
 * Puts the sources together as one index. A single index, or with `preferIndex: false` a single manifest, stays as it is
 * when nothing is to change in it. Throws `invalid` when no manifest is of the platforms that are wanted, or an
 * annotation is for a platform that there is not, and `corrupt` for an index that is none.
 */
export function combine(sources: readonly Source[], options: CombineOptions): Combined {
  const { annotations, platforms, preferIndex } = options;
  const [first] = sources;
  if (first === undefined) throw fail('invalid', 'client', 'there are no sources to make an image of');
  const same = annotations.length === 0 && platforms.length === 0 && sources.length === 1;
  if (same && (isIndexType(first.descriptor.mediaType) || !preferIndex)) return asItIs(first);
  const listed = new Map<Digest, { descriptor: Descriptor; repository: string }>();
  for (const source of sources) {
    for (const descriptor of entriesOf(source)) {
      const before = listed.get(descriptor.digest);
      const repository = before?.repository ?? source.repository;
      listed.set(descriptor.digest, { repository, descriptor: merged(before?.descriptor, descriptor) });
    }
  }
  const kept = platforms.length === 0 ? [...listed.values()] : ofPlatforms([...listed.values()], platforms);
  const own = Object.fromEntries(
    annotations.filter(({ place }) => place === 'index').map(({ key, value }) => [key, value]),
  );
  const parts = annotated(kept, annotations);
  // Docker's list has no place for annotations.
  const isDockers = kept.every(({ descriptor }) => descriptor.mediaType === mediaTypes.dockerManifest);
  const mediaType = isDockers && annotations.length === 0 ? mediaTypes.dockerIndex : mediaTypes.ociIndex;
  const document = {
    schemaVersion: 2,
    mediaType,
    manifests: parts.map(({ descriptor }) => descriptor),
    ...(Object.keys(own).length > 0 && { annotations: own }),
  };
  const bytes = Buffer.from(JSON.stringify(document, undefined, 2));
  return { descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length }, bytes, parts };
}

function asItIs(source: Source): Combined {
  const { descriptor, bytes, repository } = source;
  const parts = isIndexType(descriptor.mediaType)
    ? entriesOf(source).map((each) => ({ descriptor: each, repository }))
    : [{ descriptor, repository }];
  return { descriptor, bytes, parts };
}

function entriesOf({ descriptor, bytes, repository }: Source): Descriptor[] {
  if (!isIndexType(descriptor.mediaType)) return [descriptor];
  return parseIndex(bytes, { name: `${repository}@${descriptor.digest}`, hop: 'registry' }).manifests;
}

/** Of a manifest that is named twice, what each of the two knows. */
function merged(before: Descriptor | undefined, after: Descriptor): Descriptor {
  const annotations = { ...before?.annotations, ...after.annotations };
  const platform = before?.platform ?? after.platform;
  const { mediaType, digest, size, artifactType } = after;
  return {
    ...{ mediaType, digest, size },
    ...(Object.keys(annotations).length > 0 && { annotations }),
    ...(platform !== undefined && { platform }),
    ...(artifactType !== undefined && { artifactType }),
  };
}

type Part = Combined['parts'][number];

function ofPlatforms(parts: readonly Part[], platforms: readonly Platform[]): Part[] {
  const images = parts.filter(
    ({ descriptor }) =>
      isImageEntry(descriptor) &&
      descriptor.platform !== undefined &&
      platforms.some((wanted) => platformMatches(wanted, descriptor.platform as Platform)),
  );
  if (images.length === 0) {
    const here = parts.flatMap(({ descriptor }) =>
      isImageEntry(descriptor) && descriptor.platform !== undefined
        ? [formatPlatform(descriptor.platform)]
        : [],
    );
    throw fail('invalid', 'client', 'none of the manifests match the provided platforms', {
      hint: `There are ${[...new Set(here)].join(', ') || 'none with a platform'}.`,
    });
  }
  const digests = new Set<string | undefined>(images.map(({ descriptor }) => descriptor.digest));
  return parts.filter(
    ({ descriptor: { digest, annotations } }) =>
      digests.has(digest) || digests.has(annotations?.['vnd.docker.reference.digest']),
  );
}

function annotated(parts: readonly Part[], annotations: readonly IndexAnnotation[]): Part[] {
  const onParts = annotations.filter(({ place }) => place === 'manifest-descriptor');
  const platformOf = ({ platform }: Descriptor) => (platform === undefined ? '' : formatPlatform(platform));
  const here = new Set(parts.map(({ descriptor }) => platformOf(descriptor)));
  const lost = onParts.find(({ platform }) => platform !== undefined && !here.has(platform));
  if (lost !== undefined) {
    throw fail('invalid', 'client', `invalid annotation: no platform ${lost.platform} found in source`);
  }
  return parts.map(({ descriptor, repository }) => {
    const fitting = onParts.filter(
      ({ platform }) => platform === undefined || platform === platformOf(descriptor),
    );
    if (fitting.length === 0) return { descriptor, repository };
    const more = Object.fromEntries(fitting.map(({ key, value }) => [key, value]));
    return { repository, descriptor: { ...descriptor, annotations: { ...descriptor.annotations, ...more } } };
  });
}
