/** Which pod a project's builds go to. Pure. */
import { createHash } from 'node:crypto';

/**
 * Orders pods for a key: the first is the one to use, the next ones stand in for it. Each pod has a rank for each key, by
 * a hash of both (rendezvous hashing). A key keeps its pod as long as that is there: when one of N pods goes, only its own
 * keys go to others, evenly; when one comes, it takes a share of 1/N from all.
 *
 *     podsFor('github.com/you/web', ['drydock-0', 'drydock-1'])
 */
export function podsFor(key: string, pods: readonly string[]): string[] {
  const rank = (pod: string) => createHash('sha256').update(key).update('\0').update(pod).digest('hex');
  return pods
    .map((pod) => [rank(pod), pod] as const)
    .sort(([a], [b]) => (a < b ? 1 : -1))
    .map(([, pod]) => pod);
}
