/** A build's outputs: what makes them, and what they are called. */
import { fail } from '../errors/index.ts';
import { createExporter, type Exporter, parseImageAttrs } from '../exporter/index.ts';
import { normalizeName } from '../oci/index.ts';
import type { Store } from '../store/index.ts';
import { type OutputMetadata, withMetadata } from './bridge/output-metadata.ts';
import type { OutputSpec } from './types.ts';

/** An output and the exporter that makes it. */
interface OpenOutput {
  output: OutputSpec;
  /** Its place among all outputs of the build. */
  index: number;
  /** Its attributes, without the metadata among them. */
  attrs: Record<string, string>;
  /** By which it describes the image itself. */
  given?: OutputMetadata;
  exporter: Exporter;
}

/** Opens outputs; `first` is the place of the first among all. Throws `invalid` for attributes that cannot be. */
export function openOutputs(outputs: readonly OutputSpec[], first = 0): OpenOutput[] {
  return outputs.flatMap((output, i) => {
    if (output.type === 'cacheonly') return [];
    const { attrs, metadata } = withMetadata(output.attrs);
    const exporter = createExporter(output.type, attrs);
    return [{ output, index: first + i, attrs, given: metadata, exporter }];
  });
}

/** Most names of one output: each is put into the store, told as an event and pushed. */
const maxNames = 1024;

/**
 * The names of an output: its own `name` attribute (comma-separated), else the build's tags. Throws `invalid` for more
 * than an output may have.
 */
export function namesOf(
  { type, attrs, forgetsReplaced }: OutputSpec,
  tags: readonly string[],
  { shared }: Pick<Store, 'shared'>,
): string[] {
  const own = (attrs.name ?? '').split(',').filter((name) => name !== '' && name !== '*');
  const count = own.length || tags.length;
  if (count > maxNames) {
    throw fail('invalid', 'export', `an output has at most ${maxNames} names, not ${count}`, {
      hint: 'Tag the image with the others afterwards.',
    });
  }
  if (own.length === 0) return [...new Set(tags.map(normalizeName))];
  // As with buildkitd: an image in a containerd that goes to no registry may have any name.
  const isFree = shared && type === 'image' && forgetsReplaced === true && !parseImageAttrs(type, attrs).push;
  return [...new Set(own.map((name) => (isFree ? nameInContainerd(name) : normalizeName(name))))];
}

function nameInContainerd(name: string): string {
  try {
    return normalizeName(name);
  } catch {
    return name;
  }
}
