import type { Reach } from '../../../auth/index.ts';
import type { MadeBy } from '../../shared/recording.ts';
import { msOf } from '../timestamp.ts';
import type { History } from './history.ts';

/** The attributes of a build's answer that are digests of what it made. */
const digestKeys = ['containerimage.digest', 'containerimage.config.digest'];

/** The builds within reach by the digests of what they made, newest first. */
export async function buildsByResult(history: History, reach: Reach): Promise<Map<string, MadeBy[]>> {
  await history.settled();
  const builds = new Map<string, MadeBy[]>();
  for await (const { Ref, CreatedAt, ExporterResponse, Result, Results } of history.list(reach)) {
    const results = [Result, ...Object.values(Results)].flatMap((each) =>
      Object.values(each?.Results ?? {}).map(({ digest }) => digest),
    );
    const digests = new Set([...results, ...digestKeys.map((key) => ExporterResponse[key] ?? '')]);
    digests.delete('');
    const made = { ref: Ref, createdAt: CreatedAt === undefined ? 0 : msOf(CreatedAt) };
    for (const digest of digests) builds.set(digest, [...(builds.get(digest) ?? []), made]);
  }
  return builds;
}
