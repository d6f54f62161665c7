import { randomUUID } from 'node:crypto';
import { DrydockError } from '../errors/index.ts';
import type { ContentSelector } from '../fs/index.ts';
import { outputCount } from '../llb/index.ts';
import { type Digest, digestOf } from '../oci/index.ts';
import type { Tenant } from '../session/index.ts';
import type { Ref } from '../store/index.ts';
import { contentDigest } from './content.ts';
import type { Contents } from './contents.ts';
import type { FleetRecord } from './fleet-cache.ts';
import type { ForeignCache, ForeignRecord } from './foreign-cache.ts';
import { foreignRecords, hasResults, otherNamings, ownNaming } from './foreign-match.ts';
import { cacheKey, type KeyInput, ownKey } from './keys.ts';
import { leave } from './leftovers.ts';
import type { SolverDeps } from './solver.ts';
import type { VertexState } from './state.ts';
import type { CacheMap, OtherKeys } from './types.ts';
import type { NamedKey, VertexIdentity } from './work.ts';

/** Finds out which cache record a vertex is. */
export class Identifier {
  readonly #deps: Pick<SolverDeps, 'store' | 'cache' | 'listDb' | 'otherKeys' | 'fleet'>;
  readonly #contents: Contents;

  constructor(
    deps: Pick<SolverDeps, 'store' | 'cache' | 'listDb' | 'otherKeys' | 'fleet'>,
    contents: Contents,
  ) {
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
    const key = (named: readonly KeyInput[]): NamedKey => {
      const made = cacheKey(map, named);
      const restsOnOwn = named.some(({ content }, i) => content === undefined && inputs[i]?.own === true);
      if (tenant === undefined || !isOwn(map, tenant)) return { ...made, own: restsOnOwn };
      return { ...ownKey(made, tenant.id), own: true };
    };
    const byDefinition = key(keyInputs);
    if (map.volatile) {
      const id = uniqueId(byDefinition.key);
      return { identity: { id, fresh: true, volatile: true, keys: [], claims: [] }, hit: false };
    }
    const content = state.inputs.map((_, i) => contentOf(map, i, inputs[i] as VertexIdentity));
    const imports = ignoreCache ? [] : await state.audience.imports();
    const others = imports.length === 0 ? undefined : await this.#deps.otherKeys?.(state.vertex, map);
    const read = state.inputs.map(({ index }, i) => ({ identity: inputs[i] as VertexIdentity, index }));
    const outputs = outputCount(state.vertex.op);
    const foreignAs = (named: readonly KeyInput[]) =>
      foreignRecords(imports, [ownNaming(map, named), ...otherNamings(others)], read, outputs);
    let foreign = foreignAs(keyInputs);
    const lookUp = !ignoreCache && !inputs.some((input, i) => input.fresh && content[i] === undefined);
    const keys = inputs.some((input) => input.volatile) ? [] : [byDefinition];
    const claims: VertexIdentity['claims'] = [];
    const known = (id: Digest, results?: readonly unknown[]) => {
      const there = results === undefined && hasResults(foreign, state.work.wanted);
      const own = keys.at(-1)?.own;
      const identity = { id, fresh: false, volatile: false, keys, claims, foreign, own };
      // Who names a cache trusts it with what a step's result is; others do not.
      const named = tenant !== undefined && there ? ownIdentity(identity, tenant.id) : identity;
      return { identity: named, hit: results !== undefined || there };
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
    /**
     * What the fleet has under a key that nothing here is known by. What is known here and has no result (any more) is
     * asked for when somebody needs it (`fromFleet`).
     */
    const inFleet = async (made: NamedKey) => {
      if (ignoreCache || hasResults(foreign, state.work.wanted)) return undefined;
      const record = await this.#askFleet(state, made);
      if (record === undefined) return undefined;
      const named = { id: record.id, keys, claims, foreign: foreignOf(record, outputs), fleet: true };
      return { identity: { ...named, fresh: false, volatile: false, own: false }, hit: true };
    };
    if (keys.length > 0) {
      const record = lookUp ? cache.byKey(byDefinition.key) : undefined;
      const had = lookUp && record?.results === undefined ? hadBefore(byDefinition) : undefined;
      if (had !== undefined) return had;
      if (record !== undefined) return known(record.id, record.results);
      const found = await inFleet(byDefinition);
      if (found !== undefined) return found;
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
      const found = await inFleet(byContent);
      if (found !== undefined) return found;
      if (foreign === undefined && others !== undefined) {
        const sums = await state.work.orCanceled(this.#sums(state, imports, others, claims));
        foreign = foreignRecords(imports, otherNamings(others, sums), read, outputs);
      }
      if (foreign !== undefined) return known(id);
    }
    if (ignoreCache) id = uniqueId(id);
    const fresh = ignoreCache || !cache.known(id);
    const own = keys.at(-1)?.own;
    return { identity: { id, fresh, volatile: false, keys, claims, own }, hit: false };
  }

  /**
   * What the fleet has of a vertex that is known here and has no result; undefined when it has none, or was asked for it
   * when the vertex was identified.
   */
  async fromFleet(state: VertexState, identity: VertexIdentity): Promise<VertexIdentity | undefined> {
    const { volatile, fresh, fleet } = identity;
    if (this.#deps.fleet === undefined || volatile || fresh || fleet === true || identity.own === true)
      return undefined;
    if (state.vertex.metadata?.ignoreCache) return undefined;
    for (const made of identity.keys) {
      const record = await this.#askFleet(state, made);
      if (record === undefined) continue;
      return { ...identity, foreign: foreignOf(record, outputCount(state.vertex.op)), fleet: true };
    }
    return undefined;
  }

  /** What the fleet has of a step, if that is all that is wanted. Sources are named anew by each builder. */
  async #askFleet(state: VertexState, { key, own }: NamedKey): Promise<FleetRecord | undefined> {
    const { fleet } = this.#deps;
    if (fleet === undefined || own || state.vertex.op.op.case === 'source') return undefined;
    const { progress, session } = state.context;
    if (session.offline) return undefined;
    const warn = (short: string) => progress.warn({ level: 1, short, detail: [] });
    const record = await state.work.orCanceled(fleet.find(key, { signal: state.work.signal, warn }));
    const isWhole = [...state.work.wanted].every((output) => record?.cache.hasResult(output));
    return isWhole ? record : undefined;
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

  /**
   * The names that another builder has for the contents of a vertex's inputs. They are not read when no cache has a step
   * that could be this one, and do not count when an input changed since our own names for it were found.
   */
  async #sums(
    state: VertexState,
    imports: readonly ForeignCache[],
    { ops, deps, older = [] }: OtherKeys,
    claims: VertexIdentity['claims'],
  ): Promise<readonly (readonly Digest[])[]> {
    const outputs = [...Array(outputCount(state.vertex.op)).keys()];
    const all = [...ops, ...older.flatMap((form) => form.ops)];
    const mayBe = imports.some((cache) => all.some((op) => outputs.some((output) => cache.has(op, output))));
    if (!mayBe) return [];
    const sums = await Promise.all(
      state.inputs.map(async ({ state: input, index }, i) => {
        const content = deps[i]?.content;
        return content === undefined ? [] : this.#contents.sums(input, index, content);
      }),
    );
    for (const { input, selectors, digest } of claims) {
      const from = state.inputs[input];
      const ref = (await from?.state.work.result)?.[from?.index ?? 0];
      if (ref?.changeable !== true) continue;
      const still = await contentDigest(this.#deps, ref, selectors, state.context).catch(() => undefined);
      if (still !== digest) return [];
    }
    return sums;
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
export function isOwn({ unnamed }: CacheMap, { sharesCacheMounts }: Tenant): boolean {
  return unnamed === 'things' || (unnamed === 'cache mounts' && !sharesCacheMounts);
}

/** The identity of a vertex whose result comes from a foreign cache that a tenant's build has named. */
function ownIdentity(identity: VertexIdentity, tenant: string): VertexIdentity {
  const { key: id } = ownKey({ key: identity.id }, tenant);
  const keys = identity.keys.map((made) => ({ ...ownKey(made, tenant), own: true }));
  return { ...identity, id, shared: identity.id, keys, own: true };
}

/** A record of the fleet as what a vertex may be elsewhere. */
function foreignOf({ cache }: FleetRecord, outputs: number): ForeignRecord[][] {
  return Array.from({ length: outputs }, (_, record) =>
    cache.hasResult(record) ? [{ cache, record, isOther: false }] : [],
  );
}

/** The selections by whose content an input may be keyed. A volatile input has no other name, so all of it counts. */
export function contentOf(
  map: CacheMap,
  i: number,
  input: VertexIdentity,
): readonly ContentSelector[] | undefined {
  return map.deps[i]?.content ?? (input.volatile ? [{ path: map.deps[i]?.selector || '/' }] : undefined);
}

/** An id that no other vertex's can equal. */
function uniqueId(key: Digest): Digest {
  return digestOf(`${key} ${randomUUID()}`);
}
