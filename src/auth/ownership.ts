/**
 * The owners of things: builds, and what they keep, belong to the identity that started them. Pure. The answers are
 * plain values that travel with the work; nothing further in knows of identities or scopes.
 */
import { identityKey } from './identity.ts';
import type { Authority } from './types.ts';

/** The builds that somebody may see, use and remove: their own, or everybody's with the scope `builds:all`. */
export interface Reach {
  /** The one who asks (`identityKey`). */
  readonly owner: string;
  readonly all: boolean;
}

/** The reach of an authority. */
export function reachOf({ identity, scopes }: Authority): Reach {
  return { owner: identityKey(identity), all: scopes.has('builds:all') };
}

/** Whether a thing of this owner is within reach. A thing without an owner is only within everybody's reach (`all`). */
export function reaches({ owner, all }: Reach, theirs: string | undefined): boolean {
  return all || theirs === owner;
}

/**
 * The tenant of a build, when a policy file tells identities apart: its work and the things it keeps are then kept
 * apart from others'. Undefined without a policy file: all builds share everything.
 */
export function tenantOf({
  identity,
  apart,
  scopes,
}: Authority): { id: string; sharesCacheMounts: boolean; sharesResults: boolean } | undefined {
  return (
    apart && {
      id: identityKey(identity),
      sharesCacheMounts: apart.cacheMounts === 'shared',
      sharesResults: scopes.has('cache:share'),
    }
  );
}

/** The owner whose caches somebody sees and may remove, besides those that are everybody's; undefined: all caches. */
export function cachesOf(authority: Authority): string | undefined {
  const { owner, all } = reachOf(authority);
  return all ? undefined : owner;
}
