/** The real cosign, in Debian's versions: the last before bundles, and the current one. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { digestOf } from '../../src/oci/digest.ts';
import { type Descriptor, mediaTypes } from '../../src/oci/types.ts';
import type { RegistryClient } from '../../src/registry/client.ts';

export type CosignVersion = 'trixie' | 'sid';

/** Runs cosign in a folder that is also its home. Returns its code and all that it has said. */
export function cosign(
  version: CosignVersion,
  dir: string,
  ...args: string[]
): Promise<{ code: number; said: string }> {
  const program = `/usr/local/lib/drydock-test/cosign-${version}`;
  const env = {
    PATH: process.env.PATH,
    HOME: dir,
    COSIGN_PASSWORD: 'pw',
    COSIGN_YES: 'true',
    COSIGN_EXPERIMENTAL: '1',
  };
  return new Promise((resolve) => {
    const child = execFile(program, args, { cwd: dir, env, maxBuffer: 16 << 20 }, (err, stdout, stderr) => {
      resolve({ code: err === null ? 0 : Number(err.code ?? 1), said: stdout + stderr });
    });
    // It would wait for a password there.
    child.stdin?.end();
  });
}

/** Makes a key pair of cosign's: `cosign.key` (its password is `pw`) and `cosign.pub`. */
export async function cosignKeys(dir: string): Promise<void> {
  const { code, said } = await cosign('sid', dir, 'generate-key-pair');
  if (code !== 0) throw new Error(said);
  // Signs without a log, an authority, or a network.
  const nowhere = {
    mediaType: 'application/vnd.dev.sigstore.signingconfig.v0.2+json',
    rekorTlogConfig: {},
    tsaConfig: {},
  };
  writeFileSync(join(dir, 'nowhere.json'), JSON.stringify(nowhere));
}

/** Puts an image without layers into a registry, which a text makes another one. */
export async function putImage(client: RegistryClient, ref: string, text: string): Promise<Descriptor> {
  const config = Buffer.from(
    JSON.stringify({
      os: 'linux',
      architecture: 'amd64',
      author: text,
      config: {},
      rootfs: { type: 'layers', diff_ids: [] },
    }),
  );
  const blob = { mediaType: mediaTypes.ociConfig, digest: digestOf(config), size: config.length };
  await client.pushBlob(ref, blob, async () => config);
  return putDocument(client, ref, { mediaType: mediaTypes.ociManifest, config: blob, layers: [] });
}

/** Puts a manifest or an index into a registry. */
export async function putDocument(
  client: RegistryClient,
  ref: string,
  document: { mediaType: string; [field: string]: unknown },
): Promise<Descriptor> {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, ...document }));
  const descriptor = { mediaType: document.mediaType, digest: digestOf(bytes), size: bytes.length };
  await client.pushManifest(ref, descriptor, bytes);
  return descriptor;
}
