import { randomUUID } from 'node:crypto';
import { DrydockError } from '../errors/index.ts';
import type { ContentSelector } from '../fs/index.ts';
import { outputCount } from '../llb/index.ts';
import { type Digest, digestOf } from '../oci/index.ts';
import type { Tenant } from '../session/index.ts';
import type { Ref } from '../store/index.ts';
import { contentDigest } from './content.ts';
import type { Contents } from './contents.ts';
import type { ForeignCache, ForeignRecord } from './foreign-cache.ts';
import { cacheKey, type KeyInput, ownKey } from './keys.ts';
import { leave } from './leftovers.ts';
import type { SolverDeps } from './solver.ts';
import type { VertexState } from './state.ts';
import type { CacheMap } from './types.ts';
import type { VertexIdentity } from './work.ts';

/** Finds out which cache record a vertex is. */
export class Identifier {
  readonly #deps: Pick<SolverDeps, 'store' | 'cache' | 'listDb'>;
  readonly #contents: Contents;

  constructor(deps: Pick<SolverDeps, 'store' | 'cache' | 'listDb'>, contents: Contents) {
    this.#deps = deps;
    this.#contents = contents;
  }

  /** The identity of a vertex whose inputs are identified; `hit`: its record holds a result. */
  async find(
    state: VertexState,
    map: CacheMap,
    inputs: readonly VertexIdentity[],
  ): Promise<{ identity: VertexIdentity; hit: boolean }> {
    const { cache } = this.#deps;
    const ignoreCache = state.vertex.metadata?.ignoreCache ?? false;
    const keyInputs: KeyInput[] = state.inputs.map((input, i) => ({
      id: (inputs[i] as VertexIdentity).id,
      index: input.index,
    }));
    const { tenant } = state.context.session;
    const key = (named: readonly KeyInput[]) => {
      const made = cacheKey(map, named);
      return tenant === undefined || !isOwn(map, tenant) ? made : ownKey(made, tenant.id);
    };
    const byDefinition = key(keyInputs);
    if (map.volatile) {
      const id = uniqueId(byDefinition.key);
      return { identity: { id, fresh: true, volatile: true, keys: [], claims: [] }, hit: false };
    }
    const content = state.inputs.map((_, i) => contentOf(map, i, inputs[i] as VertexIdentity));
    const imports = ignoreCache ? [] : await state.audience.imports();
    const foreignAs = (named: readonly KeyInput[]) => foreignRecords(imports, state, map, inputs, named);
    let foreign = foreignAs(keyInputs);
    const lookUp = !ignoreCache && !inputs.some((input, i) => input.fresh && content[i] === undefined);
    const keys = inputs.some((input) => input.volatile) ? [] : [byDefinition];
    const claims: VertexIdentity['claims'] = [];
    const known = (id: Digest, results?: readonly unknown[]) => {
      const there = results === undefined && hasResults(foreign, state.work.wanted);
      const identity = { id, fresh: false, volatile: false, keys, claims, foreign };
      // Who names a cache trusts it with what a step's result is; others do not.
      const own = tenant !== undefined && there ? ownIdentity(identity, tenant.id) : identity;
      return { identity: own, hit: results !== undefined || there };
    };
    /** What the tenant's builds have had from foreign caches. */
    const hadBefore = ({ key }: { key: Digest }) => {
      if (tenant === undefined) return undefined;
      const own = cache.byKey(ownKey({ key }, tenant.id).key);
      if (own === undefined) return undefined;
      const identity = { id: key, fresh: false, volatile: false, keys, claims, foreign };
      const hit = own.results !== undefined || hasResults(foreign, state.work.wanted);
      return { identity: { ...ownIdentity(identity, tenant.id), id: own.id }, hit };
    };
    if (lookUp && keys.length > 0) {
      const record = cache.byKey(byDefinition.key);
      const had = record?.results === undefined ? hadBefore(byDefinition) : undefined;
      if (had !== undefined) return had;
      if (record !== undefined) return known(record.id, record.results);
    }
    // Contents are not read for what is known by its definition, here or elsewhere.
    if (foreign !== undefined) return known(byDefinition.key);
    let id = byDefinition.key;
    if (content.some((selectors) => selectors !== undefined)) {
      const withContent = await state.work.orCanceled(this.#withContents(state, keyInputs, content));
      for (const [input, { content: digest }] of withContent.entries()) {
        const selectors = content[input];
        if (digest !== undefined && selectors !== undefined && inputs[input]?.volatile) {
          claims.push({ input, selectors, digest });
        }
      }
      const byContent = key(withContent);
      keys.push(byContent);
      id = byContent.key;
      foreign = foreignAs(withContent);
      const record = lookUp ? cache.byKey(byContent.key) : undefined;
      const had = lookUp && record?.results === undefined ? hadBefore(byContent) : undefined;
      if (had !== undefined) return had;
      if (record !== undefined) {
        if (keys.length > 1) cache.alias(byDefinition.key, record.id, byDefinition.parts);
        return known(record.id, record.results);
      }
      if (foreign !== undefined) return known(id);
    }
    if (ignoreCache) id = uniqueId(id);
    const fresh = ignoreCache || !cache.known(id);
    return { identity: { id, fresh, volatile: false, keys, claims }, hit: false };
  }

  /**
   * Whether what a vertex's identity says of the contents of changeable inputs is still so, now that its op has read
   * them. When not, a warning is shown.
   */
  async holds(state: VertexState, identity: VertexIdentity, inputs: readonly Ref[]): Promise<boolean> {
    for (const { input, selectors, digest } of identity.claims) {
      const ref = inputs[input];
      if (ref?.changeable !== true) continue;
      const found = await contentDigest(this.#deps, ref, selectors, state.context).catch((err) => {
        if (err instanceof DrydockError && err.code === 'not-found') return undefined;
        throw err;
      });
      if (found === digest) continue;
      state.context.progress.warn({
        level: 1,
        short: 'files of the build context changed while they were read; this step is not cached',
        detail: [
          `${state.inputs[input]?.state.vertex.name ?? 'the context'} changed during ${state.vertex.name}`,
        ],
      });
      return false;
    }
    return true;
  }

  async #withContents(
    state: VertexState,
    keyInputs: readonly KeyInput[],
    content: readonly (readonly ContentSelector[] | undefined)[],
  ): Promise<KeyInput[]> {
    return Promise.all(
      keyInputs.map(async (input, i) => {
        const selectors = content[i];
        const source = state.inputs[i];
        if (selectors === undefined || source === undefined) return input;
        try {
          return { ...input, content: await this.#contents.digest(source.state, source.index, selectors) };
        } catch (err) {
          await this.#leave(err, state, i);
          throw err;
        }
      }),
    );
  }

  /** Keeps an input that could not be read for a vertex, for whoever asks why. */
  async #leave(err: unknown, state: VertexState, input: number): Promise<void> {
    const source = state.inputs[input];
    if (!(err instanceof DrydockError) || err.code !== 'not-found' || source === undefined) return;
    const refs = await source.state.work.result?.catch(() => undefined);
    const ref = refs?.[source.index];
    if (ref?.serialize() === undefined) return;
    const what = { op: state.vertex.op, inputs: [ref], subject: { input } };
    await leave(err, this.#deps.store, what, async () => []);
  }
}

/** Whether a result is one tenant's alone. */
function isOwn({ unnamed }: CacheMap, { sharesCacheMounts }: Tenant): boolean {
  return unnamed === 'things' || (unnamed === 'cache mounts' && !sharesCacheMounts);
}

/** The identity of a vertex whose result comes from a foreign cache that a tenant's build has named. */
function ownIdentity(identity: VertexIdentity, tenant: string): VertexIdentity {
  const { key: id } = ownKey({ key: identity.id }, tenant);
  const keys = identity.keys.map((made) => ownKey(made, tenant));
  return { ...identity, id, shared: identity.id, keys };
}

/** By output: the records of caches from elsewhere that it may be; undefined when there are none. */
function foreignRecords(
  imports: readonly ForeignCache[],
  state: VertexState,
  map: CacheMap,
  identities: readonly VertexIdentity[],
  named: readonly KeyInput[],
): VertexIdentity['foreign'] {
  if (imports.length === 0) return undefined;
  const found: ForeignRecord[][] = Array.from({ length: outputCount(state.vertex.op) }, () => []);
  for (const cache of imports) {
    const inputs = named.map(({ index, content }, i) => {
      const records = identities[i]?.foreign?.[index] ?? [];
      return {
        records: records.filter((each) => each.cache === cache).map(({ record }) => record),
        selector: map.deps[i]?.selector ?? '',
        content,
      };
    });
    for (const [output, records] of found.entries()) {
      for (const record of cache.match(map.digest, output, inputs)) records.push({ cache, record });
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

/** The selections by whose content an input may be keyed. A volatile input has no other name, so all of it counts. */
function contentOf(map: CacheMap, i: number, input: VertexIdentity): readonly ContentSelector[] | undefined {
  return map.deps[i]?.content ?? (input.volatile ? [{ path: map.deps[i]?.selector || '/' }] : undefined);
}

/** An id that no other vertex's can equal. */
function uniqueId(key: Digest): Digest {
  return digestOf(`${key} ${randomUUID()}`);
}
