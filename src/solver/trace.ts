/** What a build was made of, as another cache can be told. */
import type { Cache, KeyParts } from '../cache/index.ts';
import type { ContentSelector } from '../fs/index.ts';
import type { Digest } from '../oci/index.ts';
import type { Ref } from '../store/index.ts';
import type { ForeignLeaf } from './foreign-cache.ts';
import type { VertexState } from './state.ts';
import type { CacheMap, OtherKeys, Vertex } from './types.ts';
import type { VertexIdentity } from './work.ts';

export interface TracedVertex {
  readonly vertex: Vertex;
  /** Digest of the op without its inputs. */
  readonly op: Digest;
  /** It has a name that holds beyond this build. */
  readonly isNamed: boolean;
  readonly inputs: readonly TracedInput[];
  /** The names that another builder's caches have for it; undefined: they have none. */
  readonly others: TracedNames | undefined;
  /** Its outputs, unless they would have to be made. */
  results(): Promise<readonly Ref[] | undefined>;
}

interface TracedInput {
  /** Place of the vertex in the trace. */
  vertex: number;
  output: number;
  selector: string;
  /** Digest of what is selected, where it was read. */
  content: Digest | undefined;
  /** What caches from elsewhere know it as. */
  leaves: readonly ForeignLeaf[];
}

interface TracedNames {
  /** The digests of the op there. */
  readonly ops: readonly Digest[];
  readonly inputs: readonly {
    selector: string;
    /** What the content of an input is there that has no other name. */
    contents: readonly Digest[];
    leaves: readonly ForeignLeaf[];
  }[];
}

interface TraceDeps {
  otherKeys(state: VertexState): Promise<OtherKeys | undefined>;
  sums(state: VertexState, index: number, selectors: readonly ContentSelector[]): Promise<readonly Digest[]>;
  cache: Cache;
  identify(state: VertexState): Promise<VertexIdentity>;
  results(state: VertexState, identity: VertexIdentity): Promise<readonly Ref[] | undefined>;
}

/** Traces states that are listed inputs first. */
export async function traceOf(states: readonly VertexState[], deps: TraceDeps): Promise<TracedVertex[]> {
  const places = new Map(states.map((state, i) => [state, i]));
  return Promise.all(
    states.map(async (state): Promise<TracedVertex> => {
      const identity = await deps.identify(state);
      const map = await state.cacheMap();
      const inputs = await Promise.all(state.inputs.map((input) => deps.identify(input.state)));
      const keys = [...identity.keys, ...deps.cache.keysOf(identity.id)].map(({ parts }) => parts);
      const contents = contentsOf(keys, state, map, inputs);
      const leaves = leavesOf(identity, false);
      return {
        vertex: state.vertex,
        op: map.digest,
        isNamed: !identity.volatile && !state.work.isTainted,
        inputs: state.inputs.map((input, i) => ({
          vertex: places.get(input.state) as number,
          output: input.index,
          selector: map.deps[i]?.selector ?? '',
          content: contents[i],
          leaves: leaves[i] ?? [],
        })),
        others: identity.volatile ? undefined : await othersOf(state, identity, inputs, deps),
        results: () => deps.results(state, identity),
      };
    }),
  );
}

/** By input: the contents it is keyed by in those of the vertex's keys that are of the very same op and inputs. */
function contentsOf(
  keys: readonly KeyParts[],
  state: VertexState,
  map: CacheMap,
  inputs: readonly VertexIdentity[],
): (Digest | undefined)[] {
  const same = keys.filter(
    ({ op, deps }) =>
      op === map.digest &&
      deps.length === inputs.length &&
      deps.every(
        (dep, i) =>
          dep.content ||
          (dep.id === inputs[i]?.id &&
            dep.index === state.inputs[i]?.index &&
            dep.selector === (map.deps[i]?.selector ?? '')),
      ),
  );
  return inputs.map((_, i) => same.find(({ deps }) => deps[i]?.content)?.deps[i]?.id);
}

async function othersOf(
  state: VertexState,
  identity: VertexIdentity,
  inputs: readonly VertexIdentity[],
  deps: TraceDeps,
): Promise<TracedNames | undefined> {
  const keys = await deps.otherKeys(state);
  if (keys === undefined) return undefined;
  const leaves = leavesOf(identity, true);
  const named = await Promise.all(
    state.inputs.map(async ({ state: input, index }, i) => {
      const { selector = '', content } = keys.deps[i] ?? {};
      const isNameless = inputs[i]?.volatile === true && (leaves[i]?.length ?? 0) === 0;
      const contents = isNameless && content !== undefined ? await deps.sums(input, index, content) : [];
      return { selector, contents, leaves: leaves[i] ?? [] };
    }),
  );
  return { ops: keys.ops, inputs: named };
}

/** By input: the names of its content in the caches that the vertex was found in by our name, or another builder's. */
function leavesOf({ foreign = [] }: VertexIdentity, byOther: boolean): ForeignLeaf[][] {
  const byInput: ForeignLeaf[][] = [];
  for (const { cache, record, isOther } of foreign.flat()) {
    if (isOther !== byOther) continue;
    for (const [i, leaves] of cache.leaves(record).entries()) {
      byInput[i] = [...(byInput[i] ?? []), ...leaves];
    }
  }
  return byInput;
}
