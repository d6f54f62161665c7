/** The metadata that outputs take from a result or add to it. Pure. */
import type { BridgeResult } from './types.ts';

export type OutputMetadata = Readonly<Record<string, Uint8Array>>;

/** Separates an output's own attributes from the metadata among them, with which a client describes the image. */
export function withMetadata(all: Readonly<Record<string, string>>): {
  attrs: Record<string, string>;
  metadata?: OutputMetadata;
} {
  const isMetadata = ([name]: [string, string]) =>
    /^containerimage\.config(\/|$)/.test(name) || name === 'refs.platforms';
  const given = Object.entries(all).filter(isMetadata);
  if (given.length === 0) return { attrs: { ...all } };
  return {
    attrs: Object.fromEntries(Object.entries(all).filter((each) => !isMetadata(each))),
    metadata: Object.fromEntries(given.map(([name, text]) => [name, Buffer.from(text)])),
  };
}

/** The result with an output's metadata laid over its own. */
export function overlaid(result: BridgeResult, metadata: OutputMetadata): BridgeResult {
  return { ...result, metadata: { ...result.metadata, ...metadata } };
}

/** The names that the frontend gives to the image. They are used by an output whose name is `*`. */
export function frontendNames({ metadata }: BridgeResult): string[] {
  const text = Buffer.from(metadata['image.name'] ?? []).toString('utf8');
  return text.split(',').filter((name) => name !== '');
}

/** The annotations that the frontend gives to the image, named as in outputs' attributes. */
export function frontendAnnotations({ metadata }: BridgeResult): Record<string, string> {
  const own = Object.entries(metadata).filter(([name]) => /^annotation[-[.]/.test(name));
  return Object.fromEntries(own.map(([name, bytes]) => [name, Buffer.from(bytes).toString('utf8')]));
}
