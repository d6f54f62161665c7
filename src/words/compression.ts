/** Reads the attributes `compression` and `compression-level` of outputs and caches. */

/** The kinds of compression that layers can have. */
export const compressionTypes = ['uncompressed', 'gzip', 'zstd', 'estargz', 'zstdchunked'] as const;
type CompressionType = (typeof compressionTypes)[number];

/** The highest level of each kind; it has no meaning for uncompressed layers. The lowest is 0, zstd's first. */
const highest: ReadonlyMap<string, number> = new Map([
  ['uncompressed', 99],
  ['gzip', 9],
  ['zstd', 22],
  ['estargz', 9],
  ['zstdchunked', 22],
]);

/** Makes the errors of attributes that cannot be read. */
interface CompressionFaults {
  /** For an unknown kind. */
  kind(kind: string): Error;
  /** For a level that is no number, or higher than the kind allows. */
  level(text: string, type: CompressionType, highest: number): Error;
}

/**
 * Reads both attributes; undefined when both are missing, gzip when only a level is given. The level of uncompressed
 * layers is checked and left out. Throws the errors that `faults` makes.
 */
export function readCompression(
  attrs: Readonly<Record<string, string>>,
  faults: CompressionFaults,
): { type: CompressionType; level?: number } | undefined {
  const { compression: named = 'gzip', 'compression-level': text } = attrs;
  // The name that containers' tools have for it.
  const kind = named === 'zstd:chunked' ? 'zstdchunked' : named;
  if (attrs.compression === undefined && text === undefined) return undefined;
  const most = highest.get(kind);
  if (most === undefined) throw faults.kind(named);
  const type = kind as CompressionType;
  if (text === undefined) return { type };
  if (!/^\d{1,2}$/.test(text) || Number(text) > most) throw faults.level(text, type, most);
  if (type === 'uncompressed') return { type };
  return { type, level: type.startsWith('zstd') ? Math.max(1, Number(text)) : Number(text) };
}
