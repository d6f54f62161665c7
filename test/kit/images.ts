/** Small real images for tests, made here and pushed with plain HTTP requests, so that nothing under test makes them. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { digestOf, hex } from '../../src/oci/digest.ts';
import {
  type Descriptor,
  type Digest,
  type ImageConfig,
  type Index,
  type Manifest,
  mediaTypes,
  type Platform,
} from '../../src/oci/types.ts';

/** A file for `tarOf`: text or bytes; `{ dir: true }`; `{ link }` a symlink; `{ hard }` a hard link. */
export type TestFile =
  | string
  | Uint8Array
  | {
      data?: string | Uint8Array;
      dir?: true;
      link?: string;
      hard?: string;
      mode?: number;
      uid?: number;
      gid?: number;
    };

/** A ustar archive of files in the order given; all times are 2024-01-01. */
export function tarOf(files: Record<string, TestFile>): Buffer {
  const parts: Buffer[] = [];
  for (const [path, file] of Object.entries(files)) {
    const spec = typeof file === 'string' || file instanceof Uint8Array ? { data: file } : file;
    const data = Buffer.from(spec.data ?? '');
    const type = spec.dir ? '5' : spec.link !== undefined ? '2' : spec.hard !== undefined ? '1' : '0';
    const head = Buffer.alloc(512);
    const octal = (value: number, at: number, width: number) =>
      head.write(`${value.toString(8).padStart(width - 1, '0')}\0`, at, 'latin1');
    head.write(spec.dir ? `${path}/` : path, 0, 100);
    octal(spec.mode ?? (spec.dir ? 0o755 : 0o644), 100, 8);
    octal(spec.uid ?? 0, 108, 8);
    octal(spec.gid ?? 0, 116, 8);
    octal(data.length, 124, 12);
    octal(1704067200, 136, 12);
    head.write(`        ${type}`, 148, 'latin1');
    head.write(spec.link ?? spec.hard ?? '', 157, 100);
    head.write('ustar\x0000', 257, 'latin1');
    const sum = head.reduce((total, byte) => total + byte, 0);
    head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    parts.push(head, data, Buffer.alloc((512 - (data.length % 512)) % 512));
  }
  parts.push(Buffer.alloc(1024));
  return Buffer.concat(parts);
}

/** An image held in memory: every blob by its digest. */
export interface TestImage {
  manifest: Descriptor;
  configDigest: Digest;
  config: ImageConfig;
  layers: Descriptor[];
  blobs: Map<Digest, Buffer>;
}

/** Makes an OCI image of uncompressed layer tars (gzipped here), lowest first. */
export function imageOf(
  tars: readonly Buffer[],
  options: {
    platform?: Platform;
    config?: ImageConfig['config'];
    uncompressed?: boolean;
    /** Of the first layer, which is a foreign one then. */
    urls?: (digest: Digest) => string[];
  } = {},
): TestImage {
  const blobs = new Map<Digest, Buffer>();
  const add = (mediaType: string, data: Buffer): Descriptor => {
    const digest = digestOf(data);
    blobs.set(digest, data);
    return { mediaType, digest, size: data.length };
  };
  const layers = tars.map((tar) =>
    options.uncompressed
      ? add(mediaTypes.ociLayer, tar)
      : add(mediaTypes.ociLayerGzip, gzipSync(tar, { level: 6 })),
  );
  const [first] = layers;
  if (first !== undefined && options.urls !== undefined) {
    first.mediaType = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
    first.urls = options.urls(first.digest);
  }
  const platform = options.platform ?? { os: 'linux', architecture: 'amd64' };
  const config: ImageConfig = {
    created: '2024-01-01T00:00:00Z',
    ...platform,
    config: options.config ?? {},
    rootfs: { type: 'layers', diff_ids: tars.map((tar) => digestOf(tar)) },
    history: tars.map((_, i) => ({ created: '2024-01-01T00:00:00Z', created_by: `layer ${i}` })),
  };
  const configDescriptor = add(mediaTypes.ociConfig, Buffer.from(JSON.stringify(config)));
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: configDescriptor,
    layers,
  };
  const descriptor = add(mediaTypes.ociManifest, Buffer.from(JSON.stringify(manifest)));
  return { manifest: descriptor, configDigest: configDescriptor.digest, config, layers, blobs };
}

/** One index over images of several platforms, as an image whose `manifest` is the index. */
export function indexOf(images: readonly TestImage[]): TestImage {
  const manifests = images.map(({ manifest, config: { os, architecture, variant } }) => ({
    ...manifest,
    platform: { os, architecture, ...(variant === undefined ? {} : { variant }) },
  }));
  const index: Index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests };
  const data = Buffer.from(JSON.stringify(index));
  const first = images[0];
  if (first === undefined) throw new Error('an index needs an image');
  const blobs = new Map(images.flatMap((image) => [...image.blobs]));
  blobs.set(digestOf(data), data);
  return {
    ...first,
    blobs,
    manifest: { mediaType: mediaTypes.ociIndex, digest: digestOf(data), size: data.length },
  };
}

let base: TestImage | undefined;

/**
 * A busybox image like Docker Hub's: /bin/busybox (static) with a link per applet, /etc/passwd and /etc/group with
 * root, daemon, www-data and nobody, /tmp, /root, /var; `sh` as its command. The same bytes each time on one machine.
 */
export function baseImage(): TestImage {
  if (base !== undefined) return base;
  const files: Record<string, TestFile> = {};
  for (const dir of ['bin', 'dev', 'etc', 'home', 'proc', 'sys', 'usr', 'usr/bin', 'usr/sbin', 'var']) {
    files[dir] = { dir: true };
  }
  files.root = { dir: true, mode: 0o700 };
  files.tmp = { dir: true, mode: 0o1777 };
  files['bin/busybox'] = { data: readFileSync('/bin/busybox'), mode: 0o755 };
  const applets = execFileSync('/bin/busybox', ['--list'], { encoding: 'utf8' }).trim().split('\n');
  for (const applet of applets.sort()) {
    if (applet !== 'busybox') files[`bin/${applet}`] = { link: 'busybox', mode: 0o777 };
  }
  files['usr/bin/env'] = { link: '../../bin/busybox', mode: 0o777 };
  files['etc/passwd'] = [
    'root:x:0:0:root:/root:/bin/sh',
    'daemon:x:1:1:daemon:/usr/sbin:/bin/false',
    'www-data:x:33:33:www-data:/var/www:/bin/false',
    'nobody:x:65534:65534:nobody:/home:/bin/false',
    '',
  ].join('\n');
  files['etc/group'] = [
    'root:x:0:',
    'daemon:x:1:',
    'staff:x:50:www-data',
    'www-data:x:33:',
    'nobody:x:65534:',
    '',
  ].join('\n');
  base = imageOf([tarOf(files)], {
    platform: { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' },
    config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], Cmd: ['sh'] },
  });
  return base;
}

/** Writes an image as an OCI layout folder, under a tag. */
export function writeLayout(dir: string, image: TestImage, tag = 'latest'): void {
  mkdirSync(join(dir, 'blobs/sha256'), { recursive: true });
  for (const [digest, data] of image.blobs) writeFileSync(join(dir, 'blobs/sha256', hex(digest)), data);
  writeFileSync(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const manifests = [{ ...image.manifest, annotations: { 'org.opencontainers.image.ref.name': tag } }];
  writeFileSync(
    join(dir, 'index.json'),
    JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }),
  );
}

/** Puts an image into a registry under `name` (`base` or `team/base:1`); returns its reference, `host/name:tag`. */
export async function putImage(
  host: string,
  name: string,
  image: TestImage,
  user?: { username: string; password: string },
): Promise<string> {
  const colon = name.lastIndexOf(':');
  const [repository, tag] = colon < 0 ? [name, 'latest'] : [name.slice(0, colon), name.slice(colon + 1)];
  const headers: Record<string, string> = {};
  if (user !== undefined) {
    headers.authorization = `Basic ${Buffer.from(`${user.username}:${user.password}`).toString('base64')}`;
  }
  const send = async (method: string, url: string, body?: Buffer, type?: string): Promise<Response> => {
    const response = await fetch(url, {
      method,
      headers: { ...headers, ...(type === undefined ? {} : { 'content-type': type }) },
      body: body === undefined ? undefined : new Uint8Array(body),
    });
    if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${await response.text()}`);
    await response.arrayBuffer();
    return response;
  };
  const url = `http://${host}/v2/${repository}`;
  const documents: [string, string, Buffer][] = [];
  for (const [digest, data] of image.blobs) {
    const type =
      data[0] === 0x7b ? (JSON.parse(data.toString()) as { mediaType?: string }).mediaType : undefined;
    if (type === mediaTypes.ociManifest) documents.unshift([digest, type, data]);
    else if (type !== undefined) documents.push([digest, type, data]);
    else {
      const started = await send('POST', `${url}/blobs/uploads/`);
      const place = new URL(started.headers.get('location') ?? '', url);
      place.searchParams.set('digest', digest);
      await send('PUT', place.href, data, 'application/octet-stream');
    }
  }
  for (const [digest, type, data] of documents) {
    const as = digest === image.manifest.digest ? tag : digest;
    await send('PUT', `${url}/manifests/${as}`, data, type);
  }
  return `${host}/${repository}:${tag}`;
}

/** Pushes the busybox base image; returns its reference. */
export function pushBase(
  host: string,
  name = 'base',
  user?: { username: string; password: string },
): Promise<string> {
  return putImage(host, name, baseImage(), user);
}
