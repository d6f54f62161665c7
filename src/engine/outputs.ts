/** The outputs of a build: their exporters and their names. */
import { fail } from '../errors/index.ts';
import { createExporter, type Exporter, parseImageAttrs } from '../exporter/index.ts';
import { normalizeName } from '../oci/index.ts';
import type { Store } from '../store/index.ts';
import { type OutputMetadata, withMetadata } from './bridge/output-metadata.ts';
import type { OutputSpec } from './types.ts';

/** An output with the exporter that makes it. */
interface OpenOutput {
  output: OutputSpec;
  /** The place of the output among all outputs of the build. */
  index: number;
  /** The output's attributes, without the metadata among them. */
  attrs: Record<string, string>;
  /** The metadata by which this output alone describes the image; see `withMetadata`. */
  given?: OutputMetadata;
  exporter: Exporter;
}

/**
 * Opens outputs. `first` is the place of the first of them among all outputs of the build. Throws `invalid` for
 * attributes that an exporter refuses.
 */
export function openOutputs(outputs: readonly OutputSpec[], first = 0): OpenOutput[] {
  return outputs.flatMap((output, i) => {
    if (output.type === 'cacheonly') return [];
    const { attrs, metadata } = withMetadata(output.attrs);
    const exporter = createExporter(output.type, attrs);
    return [{ output, index: first + i, attrs, given: metadata, exporter }];
  });
}

/** Whether an output is an image, in a store or in an archive. */
export function isImageOutput({ type }: Pick<OutputSpec, 'type'>): boolean {
  return type === 'image' || type === 'oci' || type === 'docker';
}

/**
 * The outputs with attributes for those that are images, where an output does not say otherwise; without any output, an
 * image in the store. Throws `invalid`, with the name of the option, when no output is an image.
 */
export function withImageAttrs<T extends Pick<OutputSpec, 'type' | 'attrs'>>(
  outputs: readonly T[],
  attrs: Readonly<Record<string, string>>,
  option: string,
): (T | Pick<OutputSpec, 'type' | 'attrs'>)[] {
  if (Object.keys(attrs).length === 0) return [...outputs];
  if (outputs.length === 0) return [{ type: 'image', attrs: { ...attrs } }];
  if (!outputs.some(isImageOutput)) {
    throw fail('invalid', 'export', `${option}: no output makes an image`, {
      hint: `${option} is for type=image, oci and docker.`,
    });
  }
  return outputs.map((output) =>
    isImageOutput(output) ? { ...output, attrs: { ...attrs, ...output.attrs } } : output,
  );
}

/** The attributes of outputs whose new layers are made one. */
export const squashAttrs: Readonly<Record<string, string>> = { squash: 'true' };

/** The largest number of names of one output: each name is put into the store, told as an event and pushed. */
const maxNames = 1024;

/**
 * The names of an output: those of its own attribute `name` (comma-separated), or else the build's tags. Throws
 * `invalid` for more names than an output may have.
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
