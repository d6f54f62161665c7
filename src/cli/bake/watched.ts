/** What `drydock bake --watch` watches besides the files of the definitions: what their targets read. */
import type { PlannedTarget } from '../../bake/index.ts';
import { fail } from '../../errors/index.ts';
import { isRemoteUrl } from '../../words/index.ts';
import { outputPaths, type WatchedPlace, watchedPlaces } from '../watch/places.ts';
import { targetBuild } from './target-flags.ts';

/** The places of targets; what one of them writes does not count for another. A context that is a URL is not watched. */
export function targetPlaces(
  targets: ReadonlyMap<string, PlannedTarget>,
  alsoWritten: readonly string[],
): WatchedPlace[] {
  const builds = [...targets].map(([name, target]) => targetBuild(name, target));
  const written = [...builds.flatMap(({ flags }) => outputPaths(flags)), ...alsoWritten];
  return builds.flatMap(({ context, flags, inline }) => {
    if (isRemoteUrl(context)) return [];
    return watchedPlaces(inline === undefined ? flags : { ...flags, file: undefined }, context, written);
  });
}

/** Throws `invalid` for flags that do not go with builds that are made again and again. */
export function refuseBakeWatch(
  flags: { file: readonly string[]; print?: boolean; list?: string; 'on-error': readonly string[] },
  [first = '']: readonly string[],
): void {
  const other = isRemoteUrl(first)
    ? 'a bake file that is fetched'
    : flags.print
      ? '--print'
      : flags.list !== undefined
        ? '--list'
        : flags['on-error'].length > 0
          ? '--on-error'
          : flags.file.includes('-')
            ? '--file -'
            : undefined;
  if (other === undefined) return;
  throw fail('invalid', 'client', `--watch does not go with ${other}`, { hint: 'Leave one of them out.' });
}
