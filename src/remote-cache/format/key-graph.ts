/** Looks vertices up among the records of a cache config. */
import type { Digest } from '../../oci/index.ts';
import type { ForeignInput, ForeignLeaf } from '../../solver/index.ts';
import { type ConfigRecord, contentRecord, outputRecord } from './config.ts';

export class KeyGraph {
  readonly records: readonly ConfigRecord[];
  /** The records without inputs, by digest. */
  readonly #roots = new Map<string, number[]>();
  /** The records with inputs, by what their first input may be and their own digest. */
  readonly #byFirst = new Map<string, Set<number>>();

  constructor(records: readonly ConfigRecord[]) {
    this.records = records;
    for (const [at, { digest, inputs }] of records.entries()) {
      const [first] = inputs;
      if (first === undefined) {
        const same = this.#roots.get(digest);
        if (same === undefined) this.#roots.set(digest, [at]);
        else same.push(at);
      } else for (const { link } of first) this.#add(`${link} ${digest}`, at);
    }
  }

  #add(key: string, at: number): void {
    const same = this.#byFirst.get(key);
    if (same === undefined) this.#byFirst.set(key, new Set([at]));
    else same.add(at);
  }

  /**
   * The records that an output of an op may be. Each input of such a record is one of the records that the input here
   * may be, with the same selector, or has the same content.
   */
  match(op: Digest, output: number, inputs: readonly ForeignInput[]): number[] {
    const digest = outputRecord(op, output);
    const names = inputs.map((input) => this.#names(input));
    const [first] = names;
    if (first === undefined) return this.#roots.get(digest) ?? [];
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
  #names({ records, selector, content }: ForeignInput): Map<number, Set<string>> {
    const names = new Map<number, Set<string>>();
    for (const at of records) names.set(at, new Set([selector]));
    if (content === undefined) return names;
    for (const at of this.#roots.get(contentRecord(content)) ?? []) names.set(at, new Set(['']));
    return names;
  }
}
