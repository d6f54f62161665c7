/** Opens the cache of a fleet. */
import { openObjectStore } from '../object-store/index.ts';
import { type CredentialSource, parseReference } from '../oci/index.ts';
import { createRefs, type Refs } from '../refs/index.ts';
import { endpointOf, type RegistryClient } from '../registry/index.ts';
import type { Store } from '../store/index.ts';
import { ObjectPlace } from './object-place.ts';
import type { SharedPlace } from './place.ts';
import { RegistryPlace } from './registry-place.ts';
import { SharedCache } from './shared-cache.ts';
import type { SharedCacheSpec } from './spec.ts';

interface OpenDeps {
  store: Store;
  refs: Refs;
  registry: RegistryClient;
  /** Those of this machine. */
  credentials: CredentialSource;
  say(text: string): void;
}

/** Opens a cache. It asks nobody yet. Throws `invalid` for a place that is none. */
export async function openSharedCache(spec: SharedCacheSpec, deps: OpenDeps): Promise<SharedCache> {
  const { name, readOnly, timeout, keep } = spec;
  const { store, refs, registry, say } = deps;
  const place = await placeOf(spec, deps);
  return new SharedCache({ place, name, store, refs, registry, readOnly, timeout, keep, say });
}

async function placeOf(
  { place }: SharedCacheSpec,
  { store, refs, registry, credentials }: OpenDeps,
): Promise<SharedPlace> {
  if (place.type === 'objects') {
    return new ObjectPlace(await openObjectStore(place.store), place.prefix, store, refs);
  }
  if (!place.insecure)
    return new RegistryPlace(place.ref, { registry, refs, close() {} }, store, credentials);
  const client = registry.trusting(endpointOf(parseReference(place.ref).domain).host);
  const trusting = {
    registry: client,
    refs: createRefs({ store, registry: client }),
    close: () => client.close(),
  };
  return new RegistryPlace(place.ref, trusting, store, credentials);
}
