/** An OCI layout folder that the client offers: https://github.com/opencontainers/image-spec/blob/main/image-layout.md */

import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { type DocumentSource, parseIndex, takeBlob } from '../../distribution/index.ts';
import { fail } from '../../errors/index.ts';
import {
  type Descriptor,
  type Digest,
  digestOf,
  documentExcess,
  isIndexType,
  isManifestType,
  mediaTypes,
  type Reference,
  refNameAnnotation,
} from '../../oci/index.ts';
import type { ReportStatus } from '../../progress/index.ts';
import type { Session } from '../../session/index.ts';
import type { Store } from '../../store/index.ts';
import { clientBlobs, folderBlobs, type LayoutBlobs } from './layout-blobs.ts';

export interface LayoutContext {
  session: Session;
  signal?: AbortSignal;
  report?: ReportStatus;
}

/** A layout whose blobs can be read. */
export class ImageLayout implements DocumentSource {
  readonly origin: DocumentSource['origin'];
  readonly #blobs: LayoutBlobs;

  private constructor(blobs: LayoutBlobs) {
    this.#blobs = blobs;
    this.origin = { name: blobs.name, hop: 'session' };
  }

  /**
   * The session's layout of this name: a store of the client, which is read as needed; or a folder, which is brought
   * here first when the client is elsewhere. Throws `not-found`.
   */
  static async open(store: Store, name: string, ctx: LayoutContext): Promise<ImageLayout> {
    // So a client names its layouts among all the stores that it serves.
    const content = await ctx.session.content?.(`oci:${name}`);
    if (content !== undefined) return new ImageLayout(clientBlobs(content, `the OCI layout ${name}`));
    const provider = await ctx.session.local(name);
    if (provider === undefined) {
      throw fail('not-found', 'session', `the client offers no OCI layout named ${JSON.stringify(name)}`, {
        hint: 'Give it with --build-context NAME=oci-layout://FOLDER.',
      });
    }
    if (provider.kind === 'folder') return ImageLayout.inFolder(provider.dir);
    // Swept with this process's run folder.
    const dest = await mkdtemp(join(store.runDir, 'layout-'));
    const signal = ctx.signal ?? new AbortController().signal;
    await provider.sync(dest, {}, ctx.report ?? (() => {}), signal);
    return new ImageLayout(folderBlobs(dest, `the OCI layout ${name}`));
  }

  /** A layout in a folder on this host. */
  static inFolder(dir: string): ImageLayout {
    return new ImageLayout(folderBlobs(dir, `the OCI layout ${dir}`));
  }

  /** The descriptor that a reference's digest, or else its tag, names. Throws `not-found`. */
  async target(ref: Reference): Promise<Descriptor> {
    const text = await this.#blobs.index();
    if (text === undefined) {
      if (ref.digest !== undefined) return this.#guess(ref.digest);
      throw fail('invalid', 'session', `${this.origin.name}: its image must be named by a digest`, {
        hint: 'Write oci-layout://NAME@sha256:…, with the digest from the index.json of the layout.',
      });
    }
    const index = parseIndex(text, this.origin);
    const { digest, tag } = ref;
    if (digest !== undefined) {
      const listed = index.manifests.find((child) => child.digest === digest);
      return listed ?? this.#guess(digest);
    }
    const named = index.manifests.find((child) => {
      const name = child.annotations?.[refNameAnnotation];
      return name === tag || name?.endsWith(`:${tag}`) === true;
    });
    const only = index.manifests.length === 1 ? index.manifests[0] : undefined;
    const found = named ?? (tag === undefined || tag === 'latest' ? only : undefined);
    if (found !== undefined) return found;
    throw fail('not-found', 'session', `${this.origin.name}: there is no image tagged ${tag ?? 'latest'}`);
  }

  /** A manifest that the layout's index does not list, though an index in it may. */
  async #guess(digest: Digest): Promise<Descriptor> {
    const bytes = await this.#blobs.document(digest);
    const excess = documentExcess(bytes);
    if (excess !== undefined) {
      throw fail('exhausted', 'session', `${this.origin.name}: ${digest} has ${excess}`);
    }
    const document = this.#parsed(bytes, digest);
    const mediaType =
      document.mediaType ??
      (Array.isArray(document.manifests) ? mediaTypes.ociIndex : mediaTypes.ociManifest);
    if (!isIndexType(mediaType) && !isManifestType(mediaType)) {
      throw fail('unsupported', 'session', `${this.origin.name}: ${digest} is no image`);
    }
    return { mediaType, digest, size: bytes.length };
  }

  #parsed(bytes: Buffer, digest: Digest): { mediaType?: string; manifests?: unknown } {
    try {
      const value: unknown = JSON.parse(bytes.toString('utf8'));
      if (typeof value === 'object' && value !== null) {
        const { mediaType, manifests } = value as Record<string, unknown>;
        return { mediaType: typeof mediaType === 'string' ? mediaType : undefined, manifests };
      }
    } catch {
      // The error is thrown below.
    }
    throw fail('corrupt', 'session', `${this.origin.name}: ${digest} is not a JSON object`);
  }

  async bytes(descriptor: Descriptor): Promise<Buffer> {
    const bytes = await this.#blobs.document(descriptor.digest);
    const got = digestOf(bytes);
    if (got === descriptor.digest) return bytes;
    throw fail(
      'corrupt',
      'session',
      `${this.origin.name}: the blob ${descriptor.digest} has the digest ${got}`,
    );
  }

  /** The bytes of a blob, not checked. The stream, or this call, fails with `not-found`. */
  stream(digest: Digest, signal?: AbortSignal): Promise<Readable> {
    return this.#blobs.stream(digest, signal);
  }

  /** Copies a blob into content under the lease, and checks it. */
  async copyInto(store: Store, blob: Descriptor, lease: string, ctx: LayoutContext): Promise<void> {
    const { signal, report } = ctx;
    await takeBlob(store, blob, () => this.#blobs.stream(blob.digest, signal), { lease, signal, report });
  }
}
