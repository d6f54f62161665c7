/**
 * When a registry is asked for an image: `missing`: when the store has none for the platform; `always`: even then;
 * `never`: not at all.
 */
export type PullPolicy = 'missing' | 'always' | 'never';

const pullPolicies: readonly PullPolicy[] = ['missing', 'always', 'never'];

/**
 * The policy that a resolve mode means on the wire (`image.resolvemode` in LLB, `image-resolve-mode` of frontends);
 * undefined for an unknown one. BuildKit has `default`, `local` (which prefers the store's image, as we do anyway) and
 * `pull`; `never` is ours.
 */
export function pullPolicyOf(resolveMode: string | undefined): PullPolicy | undefined {
  if (resolveMode === 'pull') return 'always';
  if (resolveMode === 'never') return resolveMode;
  return ['', 'default', 'local'].includes(resolveMode ?? '') ? 'missing' : undefined;
}

/** The resolve mode that stands for a policy on the wire; undefined for the usual one, which is not written. */
export function resolveModeOf(policy: PullPolicy): 'pull' | 'never' | undefined {
  if (policy === 'missing') return undefined;
  return policy === 'always' ? 'pull' : policy;
}

/** The policy of this name; undefined when there is none. */
export function pullPolicyNamed(name: string): PullPolicy | undefined {
  return pullPolicies.find((policy) => policy === name);
}
