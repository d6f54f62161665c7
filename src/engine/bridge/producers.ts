/** The requests that made trees, as long as the builds that made them go on: another build may be handed such a tree. */
import { outputOf } from '../../llb/index.ts';
import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import type { Asked } from './types.ts';

/** The requests of one engine's builds, by the outputs of the trees that they made. */
export class Producers {
  /** Tenant and output → the requests, by the builds that noted them. */
  readonly #known = new Map<string, Map<object, Asked>>();
  /** A build → its keys in `#known`. */
  readonly #keys = new Map<object, Set<string>>();

  /** Notes who made a tree, for builds of the same tenant. A build's first word about a tree counts. */
  note(build: object, tenant: string | undefined, definition: Definition, asked: Asked): void {
    const key = keyOf(tenant, definition);
    if (key === undefined) return;
    const byBuild = this.#known.get(key) ?? new Map<object, Asked>();
    this.#known.set(key, byBuild);
    if (byBuild.has(build)) return;
    byBuild.set(build, asked);
    const keys = this.#keys.get(build) ?? new Set<string>();
    this.#keys.set(build, keys.add(key));
  }

  /** Finds who made a tree: this build itself, or another one if all that made it were asked by one request. */
  find(build: object, tenant: string | undefined, definition: Definition): Asked | undefined {
    const byBuild = this.#known.get(keyOf(tenant, definition) ?? '');
    const own = byBuild?.get(build);
    if (own !== undefined || byBuild === undefined) return own;
    return byBuild.size === 1 ? byBuild.values().next().value : undefined;
  }

  /** Forgets a build that is over. */
  forget(build: object): void {
    for (const key of this.#keys.get(build) ?? []) {
      const byBuild = this.#known.get(key);
      if (byBuild?.delete(build) && byBuild.size === 0) this.#known.delete(key);
    }
    this.#keys.delete(build);
  }
}

/** A text for a tenant and the output of a definition; undefined for the empty tree and for what is no definition. */
function keyOf(tenant: string | undefined, definition: Definition): string | undefined {
  try {
    const output = outputOf(definition);
    return output && JSON.stringify([tenant ?? '', output.digest, output.index]);
  } catch {
    return undefined;
  }
}
