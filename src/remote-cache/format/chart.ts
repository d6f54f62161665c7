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
  /** By vertex: the records of its outputs. */
  const known: (number[] | undefined)[] = [];
  for (const vertex of vertices) {
    const inputs = vertex.inputs.map((input) => chart.names(input, known));
    const isKnown = vertex.isNamed && inputs.every((names) => names.length > 0);
    known.push(isKnown ? chart.outputs(vertex, inputs) : undefined);
  }
  return chart.config;
}

class Chart {
  readonly config: CacheConfig = { layers: [], records: [] };
  readonly #roots = new Map<string, number>();
  readonly #layers = new Map<string, number>();

  outputs({ op, outputs }: ChartVertex, inputs: ConfigLink[][]): number[] {
    return outputs.map((result, i) => {
      const results = result === undefined ? [] : [this.#stack(result)];
      const digest = outputRecord(op, i);
      // A source is known to other caches by the same name.
      if (inputs.length === 0 && results.length === 0) return this.#root(digest);
      return this.#add({ digest, results, inputs });
    });
  }

  names({ from, content, leaves = [] }: ChartInput, known: readonly (number[] | undefined)[]): ConfigLink[] {
    const links: ConfigLink[] = [];
    const link = from && known[from.vertex]?.[from.output];
    if (link !== undefined) links.push({ selector: from?.selector ?? '', link });
    if (content !== undefined) links.push({ selector: '', link: this.#root(contentRecord(content)) });
    for (const { digest, selector } of leaves) {
      const at = this.#root(digest);
      if (!links.some((other) => other.link === at && other.selector === selector)) {
        links.push({ selector, link: at });
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
