/** Why steps at a daemon were not cached. */
import type { Report } from '../../explain/index.ts';
import { askJson } from './endpoint.ts';
import type { RemoteCall } from './images.ts';

/** Asks for the list of builds, for one build, or for what differs between two. Throws `not-found`. */
export function remoteExplain(
  { endpoint, signal }: Pick<RemoteCall, 'endpoint' | 'signal'>,
  { list, builds }: { list: boolean; builds: readonly (string | undefined)[] },
): Promise<Report> {
  const query = { list: list ? '1' : undefined, build: builds.filter((id) => id !== undefined) };
  return askJson<Report>(endpoint, { method: 'GET', path: '/build/explain', query, signal });
}
