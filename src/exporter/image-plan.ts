/** Which blobs of its layers an image output wants, how they are packed, and which of them the image keeps. Pure. */
import type { Compression } from '../layer/index.ts';
import type { ImageAttrs } from './attrs.ts';

/** Blobs wanted in content: of no layer (new ones are only hashed), of new layers, or of all. */
export type WantedBlobs = 'none' | 'new' | 'all';

/**
 * Layers whose blobs are kept by the image. `all`: they are brought into content first. `named`: all, here or not; what
 * is elsewhere is left there, and stays with the image once it is brought. `here`: those that are in content. `older`:
 * of these, not those that this output packs.
 */
export type KeptLayers = 'all' | 'named' | 'here' | 'older';

/** Where the image goes. */
type Use =
  /** To a registry, exactly as it was made, straight from content. */
  | 'sent'
  /** Into a store that others read too: they expect it to be whole. */
  | 'shared'
  /** Into such a store, but what a registry has may stay there. */
  | 'lean'
  /** Into our own store, whose layers are snapshots already; or nowhere. */
  | 'own';

/** For whose sake layers are packed. */
type PackedFor = 'image' | 'cache' | 'nobody';

interface Wanted {
  blobs: WantedBlobs;
  keeps: KeptLayers;
}

const whole: Wanted = { blobs: 'all', keeps: 'all' };
const wanted: Record<Use, Record<PackedFor, Wanted>> = {
  sent: { image: whole, cache: whole, nobody: whole },
  shared: { image: whole, cache: whole, nobody: whole },
  lean: {
    image: { blobs: 'new', keeps: 'named' },
    cache: { blobs: 'new', keeps: 'named' },
    nobody: { blobs: 'none', keeps: 'named' },
  },
  own: {
    image: { blobs: 'new', keeps: 'here' },
    // The image can have them made again.
    cache: { blobs: 'new', keeps: 'older' },
    nobody: { blobs: 'none', keeps: 'here' },
  },
};

/** What becomes of the layers of an image. */
export interface ImagePlan extends Wanted {
  /** Pushed from content as it was made; else a push sends what the store has under the name, and fetches the rest. */
  sent: boolean;
  compression: Compression;
  /** A layer that some registry has stays as it is there. */
  asPublished: boolean;
}

type PlannedAttrs = Pick<
  ImageAttrs,
  'push' | 'pushByDigest' | 'store' | 'allowIncomplete' | 'compression' | 'forceCompression'
>;

/** Whether an output's own attributes have its new layers packed. */
export function isPackedAnyway({
  push,
  compression,
  forceCompression,
}: Pick<ImageAttrs, 'push' | 'compression' | 'forceCompression'>): boolean {
  return push || forceCompression || compression !== undefined;
}

/**
 * The plan of an output. `epoch`: times of new layers are clamped to it; `cache`: how a cache that is exported as well
 * has the layers packed; `attested`: statements go with the image.
 */
export function imagePlan(
  want: PlannedAttrs,
  {
    shared,
    epoch,
    cache,
    attested = false,
  }: { shared: boolean; epoch?: number; cache?: Compression; attested?: boolean },
): ImagePlan {
  const isSent = want.push && (!want.store || want.pushByDigest || want.compression?.type === 'uncompressed');
  // What is stated of an image is about its very bytes: a push later on is not to pack it anew.
  const gzip = want.push || want.forceCompression || attested;
  const asCache = !gzip && want.compression === undefined && cache?.type === 'gzip';
  const isAsked = gzip || want.compression !== undefined || epoch !== undefined;
  const packedFor = isAsked ? 'image' : asCache ? 'cache' : 'nobody';
  return {
    ...wanted[isSent ? 'sent' : useOf(want, shared)][packedFor],
    sent: isSent,
    compression: want.compression ?? (asCache ? cache : { type: gzip ? 'gzip' : 'uncompressed' }),
    asPublished: want.compression === undefined && epoch === undefined,
  };
}

function useOf({ store, allowIncomplete }: PlannedAttrs, shared: boolean): Use {
  if (!shared) return 'own';
  if (allowIncomplete) return 'lean';
  return store ? 'shared' : 'own';
}
