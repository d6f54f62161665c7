/** Cache keys: pure functions from what a vertex is to the digests that name it. */
import type { KeyParts } from '../cache/index.ts';
import { type Digest, digestOf } from '../oci/index.ts';
import type { Job } from './job.ts';
import type { CacheMap, Vertex } from './types.ts';

/** What is known of one input when a key is made. */
export interface KeyInput {
  /** Record id of the input vertex. */
  id: Digest;
  /** Output index used. */
  index: number;
  /** Digest of the selected contents, when the content-based key is made. */
  content?: Digest;
}

/**
 * The key of a vertex from its op and its inputs. With no `content` in any input it is the definition-based key,
 * else the content-based one: an input whose content is known is named by it alone, whatever made it.
 */
export function cacheKey(map: CacheMap, inputs: readonly KeyInput[]): { key: Digest; parts: KeyParts } {
  const deps = inputs.map((input, i) => ({
    id: input.content ?? input.id,
    index: input.content === undefined ? input.index : 0,
    selector: input.content === undefined ? (map.deps[i]?.selector ?? '') : '',
    content: input.content !== undefined,
  }));
  const kind = deps.some((dep) => dep.content) ? 'content' : 'definition';
  const parts: KeyParts = { kind, op: map.digest, deps };
  const text = JSON.stringify([
    map.digest,
    deps.map((dep) => [dep.id, dep.index, dep.selector, dep.content]),
  ]);
  return { key: digestOf(text), parts };
}

/**
 * The key of a result that is one tenant's alone, because what it is hangs on the tenant's word: a foreign cache that it
 * named, or things that the key does not name. What is built on the result is keyed by this, and so is its own as well.
 */
export function ownKey<T extends { key: Digest }>(made: T, tenant: string): T {
  return { ...made, key: digestOf(JSON.stringify(['own', tenant, made.key])) };
}

/**
 * What tells vertices at work apart: the vertex's digest, unless it or something below it means another thing in
 * another session (a client's folder or upload), holds a graph that another build may not run, is a source of which the
 * build's client was told what it is, or is to be made anew (ignoreCache). Tenants share nothing at work: who joins a
 * vertex hears what it prints, and lends it what its session has; they meet in the cache.
 */
export function workKey(
  vertex: Vertex,
  { session, allow, pins }: Pick<Job, 'session' | 'allow' | 'pins'>,
  inputKeys: readonly string[],
): string {
  const { op } = vertex.op;
  const bound =
    op.case === 'source' && /^(local|upload):\/\//.test(op.value.identifier)
      ? JSON.stringify([session.owner, session.id])
      : op.case === 'build'
        ? allow.join()
        : op.case === 'source'
          ? pins.toldOf(op.value.identifier)
          : '';
  const anew = vertex.metadata?.ignoreCache === true;
  const apart = apartOf(session);
  const plain = vertex.inputs.every((input, i) => input.vertex.digest === inputKeys[i]);
  if (apart === undefined && bound === '' && !anew && plain) return vertex.digest;
  return digestOf(JSON.stringify([apart, vertex.digest, anew, bound, inputKeys]));
}

/** What tells the work on records apart: a record's id, for one tenant, and for offline builds. */
export function recordKey(id: Digest, of: Apart): string {
  const apart = apartOf(of);
  return apart === undefined ? id : `${apart} ${id}`;
}

/** What of a session keeps the work of builds apart. */
export type Apart = Pick<Job['session'], 'tenant' | 'offline'>;

/** The builds that share work with each other; undefined: those of nobody in particular. */
function apartOf({ tenant, offline }: Apart): string | undefined {
  // What cannot be had offline must not fail builds that may ask for it.
  return offline ? `offline ${tenant?.id ?? ''}` : tenant?.id;
}
