/**
 * A fleet's cache in a repository of a registry: a tag for each key. The tag's manifest has the entry in an annotation
 * and names its layers, so that the registry keeps them. A registry does not tell when a tag was used last: what is old
 * is removed by the registry's own rules.
 */
import { DrydockError } from '../errors/index.ts';
import {
  type CredentialSource,
  type Descriptor,
  type Digest,
  digestOf,
  hex,
  type Manifest,
  mediaTypes,
} from '../oci/index.ts';
import type { Refs } from '../refs/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import { type CacheBlobs, registryBlobs } from '../remote-cache/index.ts';
import type { Ref, Store } from '../store/index.ts';
import { type Entry, type EntryLayer, encodeEntry, parseEntry } from './entry.ts';
import { layerBlob } from './layer-source.ts';
import type { Found, PlaceCall, SharedPlace } from './place.ts';

const annotation = 'drydock.shared-cache.entry';
const config = Buffer.from('{}');
const configBlob = {
  mediaType: 'application/vnd.oci.empty.v1+json',
  digest: digestOf(config),
  size: config.length,
};

export class RegistryPlace implements SharedPlace {
  readonly #registry: RegistryClient;
  readonly #ref: string;
  readonly #store: Store;
  readonly #blobs: CacheBlobs;
  readonly #credentials: CredentialSource;
  readonly #close: () => void;

  /** `close`: lets go of what was opened for this place alone. */
  constructor(
    ref: string,
    { registry, refs, close }: { registry: RegistryClient; refs: Refs; close: () => void },
    store: Store,
    credentials: CredentialSource,
  ) {
    this.#ref = ref;
    this.#registry = registry;
    this.#store = store;
    this.#credentials = credentials;
    this.#close = close;
    this.#blobs = registryBlobs(store, registry, refs, ref);
  }

  async find(key: Digest, { signal }: PlaceCall): Promise<Found | undefined> {
    try {
      const { bytes } = await this.#registry.manifest(this.#tag(key), {
        signal,
        credentials: this.#credentials,
      });
      const text = (JSON.parse(bytes.toString('utf8')) as Manifest).annotations?.[annotation];
      return text === undefined ? undefined : { entry: parseEntry(Buffer.from(text)) };
    } catch (err) {
      if (err instanceof DrydockError && err.code === 'not-found') return undefined;
      throw err;
    }
  }

  tree(layers: readonly EntryLayer[]): Ref {
    return this.#blobs.tree(layers.map(layerBlob));
  }

  async putBlob(blob: Descriptor, bring: () => Promise<void>, { signal }: PlaceCall): Promise<void> {
    const open = async () => {
      await bring();
      return this.#store.content.read(blob.digest);
    };
    await this.#registry.pushBlob(this.#ref, blob, open, { signal, credentials: this.#credentials });
  }

  async file(key: Digest, entry: Entry, { signal }: PlaceCall): Promise<void> {
    const call = { signal, credentials: this.#credentials };
    await this.#registry.pushBlob(this.#ref, configBlob, async () => config, call);
    const blobs = new Map(entry.outputs.flat().map((layer) => [layer.digest, layerBlob(layer).descriptor]));
    const manifest: Manifest = {
      ...{ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config: configBlob },
      layers: [...blobs.values()],
      annotations: { [annotation]: encodeEntry(entry).toString('utf8') },
    };
    const bytes = Buffer.from(JSON.stringify(manifest));
    const descriptor = { mediaType: mediaTypes.ociManifest, digest: digestOf(bytes) };
    await this.#registry.pushManifest(this.#tag(key), descriptor, bytes, call);
  }

  close(): void {
    this.#close();
  }

  #tag(key: Digest): string {
    return `${this.#ref}:key-${hex(key)}`;
  }
}
