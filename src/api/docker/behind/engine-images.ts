/** What the engine tells of its images. */
import type { Digest } from '../../../oci/index.ts';
import type { Behind } from './behind.ts';

/** The parts of the engine's answers about an image that are looked at. */
export interface EngineImage {
  Id: string;
  RepoTags?: string[] | null;
  RepoDigests?: string[] | null;
  RootFS?: { Layers?: Digest[] };
}

/** The engine's path of an image, by a name with slashes or an ID. */
export function imagePath(name: string): string {
  return `/images/${name.split('/').map(encodeURIComponent).join('/')}`;
}

/**
 * Whether the engine keeps its images in a containerd: an image's ID is then the digest of its manifest or index, and its
 * layers' blobs are what was pulled or loaded. Otherwise the ID is the config's digest, and layers are kept unpacked.
 */
export async function keepsInContainerd(behind: Behind, signal: AbortSignal): Promise<boolean> {
  const info = await behind.json<{ DriverStatus?: [string, string][] }>('/info', signal);
  return info?.DriverStatus?.some(([name]) => name === 'driver-type') ?? false;
}
