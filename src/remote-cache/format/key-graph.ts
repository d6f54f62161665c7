/** Looks vertices up among the records of a cache config. */
import type { Digest } from '../../oci/index.ts';
import type { ForeignInput, ForeignLeaf } from '../../solver/index.ts';
import { type ConfigRecord, contentRecord, outputRecord } from './config.ts';

/** The most records that are looked into under one key. A sound cache has some few. */
const maxSame = 1000;

export class KeyGraph {
  readonly records: readonly ConfigRecord[];
  /** The records without inputs, by digest. */
  readonly #roots = new Map<string, Set<number>>();
  /** The records with inputs, by what their first input may be and their own digest. */
  readonly #byFirst = new Map<string, Set<number>>();

  readonly #digests = new Set<string>();

  private constructor(records: readonly ConfigRecord[]) {
    this.records = records;
  }

  /** Makes the graph of records, and yields while it works. */
  static *of(records: readonly ConfigRecord[]): Generator<void, KeyGraph> {
    const graph = new KeyGraph(records);
    for (const [at, { digest, inputs }] of records.entries()) {
      yield;
      graph.#digests.add(digest);
      const [first] = inputs;
      if (first === undefined) add(graph.#roots, digest, at);
      else for (const { link } of first) add(graph.#byFirst, `${link} ${digest}`, at);
    }
    return graph;
  }

  /**
   * The records that an output of an op may be. Each input of such a record is one of the records that the input here
   * may be, with the same selector, or has the same content.
   */
  match(op: Digest, output: number, inputs: readonly ForeignInput[]): number[] {
    const digest = outputRecord(op, output);
    const names = inputs.map((input) => this.#names(input));
    const [first] = names;
    if (first === undefined) return [...(this.#roots.get(digest) ?? [])];
    const candidates = new Set<number>();
    for (const link of first.keys()) {
      for (const at of this.#byFirst.get(`${link} ${digest}`) ?? []) candidates.add(at);
    }
    return [...candidates].filter((at) => {
      const record = this.records[at] as ConfigRecord;
      if (record.inputs.length !== names.length) return false;
      return record.inputs.every((links, i) =>
        links.some(({ link, selector }) => names[i]?.get(link)?.has(selector)),
      );
    });
  }

  /** Whether there are records of an output of an op. */
  has(op: Digest, output: number): boolean {
    return this.#digests.has(outputRecord(op, output));
  }

  /** The names by content of a record's inputs. */
  leaves(at: number): ForeignLeaf[][] {
    return (this.records[at]?.inputs ?? []).map((links) =>
      links.flatMap(({ link, selector }) => {
        const target = this.records[link];
        return target === undefined || target.inputs.length > 0 || target.results.length > 0
          ? []
          : [{ digest: target.digest, selector }];
      }),
    );
  }

  /** A record → the selectors under which an input is that record. */
  #names({ records, selector, contents }: ForeignInput): Map<number, Set<string>> {
    const names = new Map<number, Set<string>>();
    for (const at of records) names.set(at, new Set([selector]));
    for (const content of contents) {
      for (const at of this.#roots.get(contentRecord(content)) ?? []) names.set(at, new Set(['']));
    }
    return names;
  }
}

function add(table: Map<string, Set<number>>, key: string, at: number): void {
  const same = table.get(key);
  if (same === undefined) table.set(key, new Set([at]));
  else if (same.size < maxSame) same.add(at);
}
