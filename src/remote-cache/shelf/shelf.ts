/**
 * A place for a cache that has no manifests: layers by digest, and configs, by names, that say all. A bucket is one, and
 * so is GitHub's cache of Actions.
 */
import type { Readable } from 'node:stream';
import type { ObjectSource } from '../../object-store/index.ts';
import type { Descriptor } from '../../oci/index.ts';
import type { KeptBlob } from '../keeping/rule.ts';

interface ShelfCall {
  signal?: AbortSignal;
}

/** All methods throw the place's own errors. */
export interface CacheShelf {
  /** The configs of the names that were asked for, as far as they are there. */
  configs(call: ShelfCall): Promise<Buffer[]>;
  /** Whether a layer is there. */
  has(blob: Pick<Descriptor, 'digest' | 'size'>, call: ShelfCall): Promise<boolean>;
  /** Whether a layer is there and will stay: one that is old is made young. */
  keeps(blob: Pick<Descriptor, 'digest' | 'size'>, call: ShelfCall): Promise<boolean>;
  /** The bytes of a layer. The reader checks the digest. */
  read(digest: Descriptor['digest'], call: ShelfCall): Promise<Readable>;
  /** Puts a layer there. */
  put(
    blob: Pick<Descriptor, 'digest' | 'size'>,
    source: ObjectSource,
    call: ShelfCall & { onProgress?(sent: number): void },
  ): Promise<void>;
  /** Puts a config there, under all names. */
  finish(config: Buffer, call: ShelfCall): Promise<void>;
  /** Set where older exports are to be removed. */
  readonly keeping?: ShelfKeeping;
  close(): void;
}

/** What removes older exports of a cache. */
interface ShelfKeeping {
  /** Says, before any blob is looked for, what an export is going to name. */
  announce(blobs: readonly KeptBlob[], call: ShelfCall): Promise<void>;
  /** Files the export, whose config is there. */
  file(config: Buffer, blobs: readonly KeptBlob[], call: ShelfCall): Promise<void>;
  /** Removes what only exports need that do not stay. */
  sweep(call: ShelfCall): Promise<void>;
}
