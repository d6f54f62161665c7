import type { Reach } from '../../../auth/index.ts';
import { buildIdOf } from '../../../records/index.ts';
import type { History } from './history.ts';

/** The fewest characters of a reference by which a build is found. */
const least = 4;

/**
 * The IDs by which explain knows builds that are named by the beginnings of their references. A word that begins no
 * reference within reach, or several, is left as it is: it may be an ID.
 */
export async function explainedAs(
  history: History,
  reach: Reach,
  words: readonly (string | undefined)[],
): Promise<(string | undefined)[]> {
  if (words.every((word) => word === undefined)) return [...words];
  await history.settled();
  const builds = [...history.activeOf(reach), ...(await Array.fromAsync(history.listOf(reach)))];
  return words.map((word) => {
    if (word === undefined || word.length < least) return word;
    const found = builds.filter(({ record }) => record.Ref.startsWith(word));
    const [build] = found;
    return build === undefined || found.length > 1 ? word : buildIdOf(build.owner, build.record.Ref);
  });
}
