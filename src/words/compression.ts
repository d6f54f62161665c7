/** How layers are compressed, as the attributes `compression` and `compression-level` of outputs and caches say it. */

type CompressionType = 'uncompressed' | 'gzip' | 'zstd';

/** The highest level of each, which means nothing for what is not compressed; the lowest is 0, zstd's first. */
const highest: ReadonlyMap<string, number> = new Map([
  ['uncompressed', 99],
  ['gzip', 9],
  ['zstd', 22],
]);

/** The errors of attributes that cannot be read. */
interface CompressionFaults {
  /** For a kind that is not written here: `estargz`, which BuildKit has, or one that nobody has. */
  kind(kind: string): Error;
  /** For a level that is no number, or above the highest of its kind. */
  level(text: string, type: CompressionType, highest: number): Error;
}

/**
 * Reads both attributes; undefined when neither is there, gzip when only a level is. The level of what is not
 * compressed is checked and left out. Throws what `faults` make.
 */
export function readCompression(
  attrs: Readonly<Record<string, string>>,
  faults: CompressionFaults,
): { type: CompressionType; level?: number } | undefined {
  const { compression: kind = 'gzip', 'compression-level': text } = attrs;
  if (attrs.compression === undefined && text === undefined) return undefined;
  const most = highest.get(kind);
  if (most === undefined) throw faults.kind(kind);
  const type = kind as CompressionType;
  if (text === undefined) return { type };
  if (!/^\d{1,2}$/.test(text) || Number(text) > most) throw faults.level(text, type, most);
  if (type === 'uncompressed') return { type };
  return { type, level: type === 'zstd' ? Math.max(1, Number(text)) : Number(text) };
}
