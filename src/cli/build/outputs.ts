/** Reads `--output`, `--load` and `--push`. */
import { resolve } from 'node:path';
import { type OutputSpec, squashAttrs, withImageAttrs } from '../../engine/index.ts';
import { fail } from '../../errors/index.ts';
import { parsePairs } from '../csv.ts';
import { OutputFile } from '../output-file.ts';
import { annotationAttrs } from './annotations.ts';

const types = ['image', 'oci', 'docker', 'local', 'tar', 'cacheonly'] as const;

/** A file that is being written beside its final name. */
export interface OpenOutputFile {
  spec: OutputSpec;
  /** Throws as `OutputFile.open` does when the file cannot be written; it is called before the build. */
  check(): Promise<void>;
  /** Moves a written file into place. */
  finish(): Promise<void>;
  /** Removes a file that is half written. */
  abandon(): Promise<void>;
}

/**
 * The outputs that the flags ask for; without any, an image in the store. Throws `invalid` for unknown types, for a
 * missing or needless `dest`, and for an archive to a terminal. `signal` ends the wait for the reader of a FIFO.
 */
export function parseOutputs(
  flags: {
    output: readonly string[];
    load?: boolean;
    push?: boolean;
    squash?: boolean;
    annotation?: readonly string[];
  },
  stdout: { isTTY?: boolean },
  signal?: AbortSignal,
): OpenOutputFile[] {
  const outputs = flags.output.map((text) => parseOutput(text, stdout, signal));
  if (flags.push) {
    const image = outputs.find(({ spec }) => spec.type === 'image');
    if (image !== undefined) image.spec.attrs.push = 'true';
    else outputs.push(plain({ type: 'image', attrs: { push: 'true' } }));
  }
  if (flags.load && !outputs.some(({ spec }) => spec.type === 'image')) {
    outputs.push(plain({ type: 'image', attrs: {} }));
  }
  const annotated = withAttrs(outputs, annotationAttrs(flags.annotation ?? []), '--annotation');
  const all = withAttrs(annotated, flags.squash ? squashAttrs : {}, '--squash');
  if (outputs.filter(({ spec }) => spec.attrs.dest === '-').length > 1) {
    throw fail('invalid', 'client', 'only one output can go to stdout');
  }
  return all;
}

/** Adds attributes to the outputs that make images. */
function withAttrs(
  outputs: readonly OpenOutputFile[],
  attrs: Readonly<Record<string, string>>,
  flag: string,
): OpenOutputFile[] {
  const specs = withImageAttrs(
    outputs.map(({ spec }) => spec),
    attrs,
    flag,
  );
  return specs.map((spec, i) => ({ ...(outputs[i] ?? plain(spec)), spec }));
}

function parseOutput(
  text: string,
  stdout: { isTTY?: boolean },
  signal: AbortSignal | undefined,
): OpenOutputFile {
  const attrs = new Map<string, string>();
  if (!text.includes('=')) {
    attrs.set('type', text === '-' ? 'tar' : 'local');
    attrs.set('dest', text);
  } else for (const [key, value] of parsePairs(text, 'output')) attrs.set(key, value);
  let type = attrs.get('type');
  if (type === undefined)
    throw fail('invalid', 'client', `type is required for output ${JSON.stringify(text)}`);
  attrs.delete('type');
  if (type === 'registry') {
    type = 'image';
    attrs.set('push', 'true');
  }
  const kind = types.find((known) => known === type);
  if (kind === undefined) {
    throw fail('invalid', 'client', `exporter ${JSON.stringify(type)} could not be found`, {
      hint: `Types: ${types.join(', ')}, registry.`,
    });
  }
  const dest = attrs.get('dest') ?? attrs.get('destination');
  attrs.delete('destination');
  attrs.delete('dest');
  const rest = Object.fromEntries(attrs);
  if (kind === 'cacheonly') return plain({ type: kind, attrs: rest });
  if (kind === 'image' || (kind === 'docker' && dest === undefined)) {
    if (dest !== undefined) throw fail('invalid', 'client', `output type=${kind} takes no dest`);
    return plain({ type: 'image', attrs: rest });
  }
  const folder = kind === 'local' || rest.tar === 'false';
  if (folder) {
    if (dest === undefined || dest === '-')
      throw fail('invalid', 'client', `output type=${kind} needs dest=FOLDER`);
    return plain({ type: kind, attrs: rest, sink: { files: resolve(dest) } });
  }
  if (dest === undefined || dest === '-') {
    if (stdout.isTTY) {
      throw fail(
        'invalid',
        'client',
        `dest file is required for the ${kind} exporter: refusing to write to a terminal`,
        {
          hint: 'Add dest=FILE, or send stdout into a pipe or a file.',
        },
      );
    }
    return plain({ type: kind, attrs: { ...rest }, sink: { tar: async () => process.stdout } });
  }
  return toFile({ type: kind, attrs: rest }, resolve(dest), signal);
}

function plain(spec: OutputSpec): OpenOutputFile {
  return { spec, check: async () => {}, finish: async () => {}, abandon: async () => {} };
}

function toFile(spec: OutputSpec, path: string, signal: AbortSignal | undefined): OpenOutputFile {
  const file = new OutputFile(path);
  return {
    spec: { ...spec, sink: { tar: () => file.open(signal) } },
    check: () => file.check(),
    finish: () => file.finish(),
    abandon: () => file.abandon(),
  };
}
