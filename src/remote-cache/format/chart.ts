/** Makes the records of a cache config from a build's vertices. Pure. */
import type { Digest } from '../../oci/index.ts';
import type { ForeignLeaf } from '../../solver/index.ts';
import {
  type CacheConfig,
  type ConfigLayer,
  type ConfigLink,
  type ConfigRecord,
  contentRecord,
  outputRecord,
} from './config.ts';

/** A vertex that is to be written. */
export interface ChartVertex {
  /** The digest of the op without its inputs. */
  op: Digest;
  /** False when the op means something in this build alone. */
  isNamed: boolean;
  inputs: readonly ChartInput[];
  /** The names that another builder has for it, and the vertices that its inputs are outputs of. */
  others?: {
    ops: readonly Digest[];
    inputs: readonly { selector: string; contents: readonly Digest[]; leaves: readonly ForeignLeaf[] }[];
    from: readonly { vertex: number; output: number }[];
  };
  /** By output: the blobs of its layers, lowest first; undefined: only its key is written. */
  outputs: readonly (readonly Digest[] | undefined)[];
}

/** The names of an input. A vertex with an input that has no name cannot be known elsewhere. */
interface ChartInput {
  /** The vertex that it is an output of, by the vertex's place in the list, when that names it. */
  from?: { vertex: number; output: number; selector: string };
  /** The digest of its content. */
  content?: Digest;
  /** The names that other caches have for its content. */
  leaves?: readonly ForeignLeaf[];
}

/**
 * The records for vertices that are listed inputs first. A vertex with an input that has no name is left out, and names
 * no input of others.
 */
export function chartOf(vertices: readonly ChartVertex[]): CacheConfig {
  const chart = new Chart();
  const known: Known[] = [];
  for (const vertex of vertices) {
    const { op, others } = vertex;
    const inputs = vertex.inputs.map((input) => chart.names(input, known));
    const from = others?.from.map((input) => known[input.vertex]?.others[input.output] ?? []) ?? [];
    const named = others?.inputs.map((input, i) => chart.otherNames(from[i] ?? [], input)) ?? [];
    known.push({
      own: isKnown(vertex, inputs) ? chart.outputs(op, vertex.outputs, inputs) : [],
      others: isKnown(vertex, named)
        ? transposed((others?.ops ?? []).map((other) => chart.outputs(other, vertex.outputs, named)))
        : [],
    });
  }
  return chart.config;
}

/** The records of a vertex: by output, under our name and under those of another builder. */
interface Known {
  own: readonly number[];
  others: readonly (readonly number[])[];
}

function isKnown({ isNamed }: ChartVertex, inputs: readonly ConfigLink[][]): boolean {
  return isNamed && inputs.every((names) => names.length > 0);
}

/** By output rather than by name. */
function transposed(byName: readonly (readonly number[])[]): number[][] {
  return (byName[0] ?? []).map((_, output) => byName.map((records) => records[output] as number));
}

class Chart {
  readonly config: CacheConfig = { layers: [], records: [] };
  readonly #roots = new Map<string, number>();
  readonly #layers = new Map<string, number>();

  outputs(op: Digest, outputs: ChartVertex['outputs'], inputs: ConfigLink[][]): number[] {
    return outputs.map((result, i) => {
      const results = result === undefined ? [] : [this.#stack(result)];
      const digest = outputRecord(op, i);
      // A source is known to other caches by the same name.
      if (inputs.length === 0 && results.length === 0) return this.#root(digest);
      return this.#add({ digest, results, inputs });
    });
  }

  names({ from, content, leaves = [] }: ChartInput, known: readonly Known[]): ConfigLink[] {
    const link = from && known[from.vertex]?.own[from.output];
    const records = link === undefined ? [] : [link];
    const contents = content === undefined ? [] : [content];
    return this.otherNames(records, { selector: from?.selector ?? '', contents, leaves });
  }

  /** The names of an input that is one of these records. */
  otherNames(
    records: readonly number[],
    {
      selector,
      contents,
      leaves,
    }: { selector: string; contents: readonly Digest[]; leaves: readonly ForeignLeaf[] },
  ): ConfigLink[] {
    const links: ConfigLink[] = records.map((link) => ({ selector, link }));
    for (const content of contents) links.push({ selector: '', link: this.#root(contentRecord(content)) });
    for (const { digest, selector: part } of leaves) {
      const at = this.#root(digest);
      if (!links.some((other) => other.link === at && other.selector === part)) {
        links.push({ selector: part, link: at });
      }
    }
    return links;
  }

  /** The record of something that is known by its name alone. */
  #root(digest: string): number {
    const at = this.#roots.get(digest) ?? this.#add({ digest, results: [], inputs: [] });
    this.#roots.set(digest, at);
    return at;
  }

  #add(record: ConfigRecord): number {
    return this.config.records.push(record) - 1;
  }

  /** The layers of a stack. Equal stacks share them. */
  #stack(blobs: readonly Digest[]): number[] {
    const stack: number[] = [];
    for (const blob of blobs) {
      const layer: ConfigLayer = { blob, parent: stack.at(-1) ?? -1 };
      const key = `${layer.parent} ${blob}`;
      const at = this.#layers.get(key) ?? this.config.layers.push(layer) - 1;
      this.#layers.set(key, at);
      stack.push(at);
    }
    return stack;
  }
}
