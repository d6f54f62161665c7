import { type ContainerConfig, defaultEnv, type ImageConfig, type Platform } from '../../../oci/index.ts';

/** The config that `FROM scratch` begins with. */
export function emptyImage(platform: Platform): ImageConfig {
  const image: ImageConfig = {
    architecture: platform.architecture,
    os: platform.os,
    config: { WorkingDir: '/', Env: defaultEnv(platform.os) },
    rootfs: { type: 'layers', diff_ids: [] },
  };
  setPlatform(image, platform);
  return image;
}

const imageKeys = [
  'author',
  'architecture',
  'os',
  'variant',
  'os.version',
  'os.features',
  'history',
] as const;
const containerKeys = [
  'User',
  'ExposedPorts',
  'Env',
  'Entrypoint',
  'Cmd',
  'Volumes',
  'WorkingDir',
  'Labels',
  'StopSignal',
  'ArgsEscaped',
  'Healthcheck',
  'OnBuild',
  'Shell',
  'StopTimeout',
] as const;

/**
 * A copy of a base's config whose fields may be replaced, not changed. It is without the creation time, the layers (the
 * exporter fills them in), the fields that describe the container it was made from, and the nulls that older tools
 * wrote.
 */
export function cloneImage(source: ImageConfig): ImageConfig {
  const image = pick(source, imageKeys) as ImageConfig;
  image.config = pick(source.config ?? {}, containerKeys);
  image.rootfs = { type: 'layers', diff_ids: [] };
  return image;
}

function pick<T extends object, K extends keyof T>(source: T, keys: readonly K[]): Partial<T> {
  const out: Partial<T> = {};
  for (const key of keys) {
    const value = source[key] as T[K] | null | undefined;
    if (value === null || value === undefined) continue;
    out[key] = Array.isArray(value) ? ([...value] as T[K]) : value;
  }
  return out;
}

/** Puts a platform into an image's config. */
export function setPlatform(image: ImageConfig, platform: Platform): void {
  const same = image.os === platform.os && image.architecture === platform.architecture;
  image.os = platform.os;
  image.architecture = platform.architecture;
  if (platform.variant || !same) assign(image, 'variant', platform.variant);
  if (platform['os.version'] || !same) assign(image, 'os.version', platform['os.version']);
  if (platform['os.features']) image['os.features'] = [...platform['os.features']];
}

function assign(image: ImageConfig, key: 'variant' | 'os.version', value: string | undefined): void {
  if (value) image[key] = value;
  else delete image[key];
}

/** The platform in an image's config. */
export function platformOf(image: ImageConfig): Platform {
  const platform: Platform = { os: image.os, architecture: image.architecture };
  if (image.variant) platform.variant = image.variant;
  if (image['os.version']) platform['os.version'] = image['os.version'];
  if (image['os.features']) platform['os.features'] = image['os.features'];
  return platform;
}

/** The container config of an image, made when it has none. */
export function containerOf(image: ImageConfig): ContainerConfig {
  image.config ??= {};
  return image.config;
}

/** `A=b` → [`A`, `b`] */
export function splitEnv(entry: string): [name: string, value: string] {
  const at = entry.indexOf('=');
  return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)];
}

/** The arguments that run a command line in the image's shell. */
export function withShell(image: ImageConfig, line: string): string[] {
  const shell = image.config?.Shell;
  if (shell?.length) return [...shell, line];
  return image.os === 'windows' ? ['cmd', '/S', '/C', line] : ['/bin/sh', '-c', line];
}
