/** The ID by which explain knows a build that has a reference. Pure. */
import { hash } from 'node:crypto';

/**
 * The ID of an owner's build. References are chosen by clients, and two owners' builds of one reference are two builds:
 * nobody's ID is another's.
 */
export function buildIdOf(owner: string, ref: string): string {
  const text = hash('sha256', JSON.stringify([owner, ref]), 'hex');
  const ends = [0, 8, 12, 16, 20, 32];
  return ends
    .slice(1)
    .map((end, i) => text.slice(ends[i], end))
    .join('-');
}
