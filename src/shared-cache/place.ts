/** The contract of the places that a fleet's cache can be at. */
import type { Descriptor, Digest } from '../oci/index.ts';
import type { Ref } from '../store/index.ts';
import type { Entry, EntryLayer } from './entry.ts';

export interface PlaceCall {
  signal: AbortSignal;
}

export interface SharedPlace {
  /** What is filed under a key. Throws `corrupt` for what is not sound, and the errors of asking. */
  find(key: Digest, call: PlaceCall): Promise<Found | undefined>;
  /** The tree of these layers, nothing of it fetched. Bytes are held against their digests when they are. */
  tree(layers: readonly EntryLayer[]): Ref;
  /** Writes a blob unless it is there; it is young afterwards. `bring` sees to it that it is in content. */
  putBlob(blob: Descriptor, bring: () => Promise<void>, call: PlaceCall): Promise<void>;
  /** Files an entry whose blobs are all there. It takes the place of another's, whole or not at all. */
  file(key: Digest, entry: Entry, call: PlaceCall): Promise<void>;
  /** Makes an entry and its blobs young, where the place knows of ages. */
  touch?(key: Digest, entry: Entry, call: PlaceCall): Promise<void>;
  /** Removes what was not used for this long, ms, at most once a day for the whole fleet. */
  collect?(keep: number, call: PlaceCall): Promise<void>;
  close(): void;
}

export interface Found {
  entry: Entry;
  /** When it was last written or touched, ms since the epoch, where that is known. */
  modified?: number;
}
