/** Looks a vertex up in caches from elsewhere, by our keys and by those of other builders. */
import type { Digest } from '../oci/index.ts';
import type { ForeignCache, ForeignRecord } from './foreign-cache.ts';
import type { KeyInput } from './keys.ts';
import type { CacheMap, OtherKeys } from './types.ts';
import type { VertexIdentity } from './work.ts';

/** One way to name a vertex. */
interface Naming {
  op: Digest;
  inputs: readonly { selector: string; contents: readonly Digest[] }[];
  /** Whether it is another builder's. */
  isOther: boolean;
}

/** Our name for a vertex. */
export function ownNaming({ digest, deps }: CacheMap, named: readonly KeyInput[]): Naming {
  const inputs = named.map(({ content }, i) => ({
    selector: deps[i]?.selector ?? '',
    contents: content === undefined ? [] : [content],
  }));
  return { op: digest, inputs, isOther: false };
}

/** The names that another builder may have for a vertex. `sums`: what its inputs' contents are there, if that is known. */
export function otherNamings(
  keys: OtherKeys | undefined,
  sums: readonly (readonly Digest[])[] = [],
): Naming[] {
  if (keys === undefined) return [];
  const { ops, deps, older = [] } = keys;
  return [{ ops, selectors: deps.map(({ selector }) => selector) }, ...older].flatMap((form) => {
    const inputs = form.selectors.map((selector, i) => ({ selector, contents: sums[i] ?? [] }));
    return form.ops.map((op) => ({ op, inputs, isOther: true }));
  });
}

/**
 * By output: the records of the caches that a vertex may be under any of its names; undefined when there are none.
 * `inputs`: the outputs that it reads, with what they are.
 */
export function foreignRecords(
  imports: readonly ForeignCache[],
  namings: readonly Naming[],
  inputs: readonly { identity: VertexIdentity; index: number }[],
  outputs: number,
): VertexIdentity['foreign'] {
  if (imports.length === 0) return undefined;
  const found: ForeignRecord[][] = Array.from({ length: outputs }, () => []);
  for (const cache of imports) {
    const known = inputs.map(({ identity, index }) =>
      (identity.foreign?.[index] ?? []).filter((each) => each.cache === cache).map(({ record }) => record),
    );
    for (const { op, inputs: named, isOther } of namings) {
      const input = (records: number[], i: number) => ({ selector: '', contents: [], ...named[i], records });
      for (const [output, records] of found.entries()) {
        for (const record of cache.match(op, output, known.map(input))) {
          records.push({ cache, record, isOther });
        }
      }
    }
  }
  return found.some((records) => records.length > 0) ? found : undefined;
}

/** Whether all of these outputs can be had from caches elsewhere. */
export function hasResults(foreign: VertexIdentity['foreign'], outputs: ReadonlySet<number>): boolean {
  if (foreign === undefined) return false;
  return [...outputs].every((output) =>
    foreign[output]?.some(({ cache, record }) => cache.hasResult(record)),
  );
}
