/** `drydock inspect`: describes an image in the JSON form of `docker inspect`. */
import { findImage, findImageFor, type StoredImage } from '../distribution/index.ts';
import type { ContainerConfig, Descriptor, Digest, Platform } from '../oci/index.ts';
import type { Store } from '../store/index.ts';
import { imageSize } from './list.ts';
import { toldNames } from './told-names.ts';

/** https://docs.docker.com/reference/api/engine/ (ImageInspect) */
interface ImageInspect {
  Id: Digest;
  RepoTags: string[];
  RepoDigests: string[];
  Parent: string;
  Comment: string;
  /** RFC 3339; '' when the config does not tell */
  Created: string;
  DockerVersion: string;
  Author: string;
  Config: ContainerConfig;
  Architecture: string;
  Variant?: string;
  Os: string;
  OsVersion?: string;
  Size: number;
  GraphDriver: { Name: string; Data: null };
  RootFS: { Type: 'layers'; Layers: Digest[] };
  Metadata: { LastTagTime: string };
  Descriptor: Descriptor;
}

/** Inspects one platform of an image. Throws as `findImage` does, and `not-found` when it is not here for the platform. */
export async function inspectPlatform(
  store: Store,
  nameOrId: string,
  platform: Platform,
): Promise<ImageInspect> {
  const { image } = await findImageFor(store, nameOrId, platform);
  return { ...(await inspectImage(store, nameOrId, image)), Descriptor: image.manifest };
}

/** Inspects the host's platform of an image, or `chosen` of its images. Throws as `findImage` does. */
export async function inspectImage(
  store: Store,
  nameOrId: string,
  chosen?: StoredImage,
): Promise<ImageInspect> {
  const { image: best, record, records } = await findImage(store, nameOrId);
  const image = chosen ?? best;
  const { config } = image;
  const { tags, digests } = await toldNames(store, records);
  const updated = Math.max(...records.map(({ updatedAt }) => updatedAt));
  return {
    Id: image.id,
    RepoTags: tags,
    RepoDigests: digests,
    Parent: '',
    Comment: config.history?.at(-1)?.comment ?? '',
    Created: config.created ?? '',
    DockerVersion: '',
    Author: config.author ?? '',
    Config: config.config ?? {},
    Architecture: config.architecture,
    ...(config.variant === undefined ? {} : { Variant: config.variant }),
    Os: config.os,
    ...(config['os.version'] === undefined ? {} : { OsVersion: config['os.version'] }),
    Size: await imageSize(store, image),
    GraphDriver: { Name: store.snapshotter, Data: null },
    RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids },
    Metadata: { LastTagTime: new Date(updated).toISOString() },
    Descriptor: record.target,
  };
}
