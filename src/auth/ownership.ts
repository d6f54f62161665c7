/**
 * What is whose: builds, and what they keep, belong to the identity that started them. Pure. The answers are plain
 * values that travel with the work; nobody further in knows of identities or scopes.
 */
import { identityKey } from './identity.ts';
import type { Authority } from './types.ts';

/** What of builds somebody may see, use and remove: their own, or with the scope `builds:all` everybody's. */
export interface Reach {
  /** Who asks (`identityKey`). */
  readonly owner: string;
  readonly all: boolean;
}

export function reachOf({ identity, scopes }: Authority): Reach {
  return { owner: identityKey(identity), all: scopes.has('builds:all') };
}

/** Whether something of this owner's is within reach; what has none is nobody's and only in everybody's reach. */
export function reaches({ owner, all }: Reach, theirs: string | undefined): boolean {
  return all || theirs === owner;
}

/**
 * Whom a build belongs to where a policy file tells identities apart: its work and what it keeps are then kept apart
 * from others'. Undefined without a policy file: all builds share what there is.
 */
export function tenantOf({
  identity,
  apart,
}: Authority): { id: string; sharesCacheMounts: boolean } | undefined {
  return apart && { id: identityKey(identity), sharesCacheMounts: apart.cacheMounts === 'shared' };
}

/** Whose caches somebody sees and may remove, beside everybody's; undefined: all. */
export function cachesOf(authority: Authority): string | undefined {
  const { owner, all } = reachOf(authority);
  return all ? undefined : owner;
}
