/**
 * The builds that ran no step, a line of JSON each. They are kept apart from the facts about steps, which a cached build
 * has no need to open.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { addLine } from '../linux/index.ts';
import type { ToldBuild } from './explain-db.ts';

interface CachedBuild extends ToldBuild {
  tenant?: string;
  /** How many steps it has, all of which were cached. */
  cached: number;
}

/** The size at which the older half goes, bytes: some 1000 builds. */
const most = 256 << 10;

function fileIn(folder: string): string {
  return join(folder, 'explain-cached.jsonl');
}

/** Notes a build. Throws the error of writing. */
export function noteCached(
  folder: string,
  { id, tenant, what }: { id: string; tenant: string | undefined; what: string },
  cached: number,
): void {
  const file = fileIn(folder);
  const line = JSON.stringify({ id, at: Date.now(), what, tenant, steps: 0, cached } satisfies CachedBuild);
  addLine(file, line, most);
}

/** The builds that were noted, latest first; with a tenant, the tenant's alone. A line that cannot be read is left out. */
export function cachedBuilds(folder: string, tenant: string | undefined): CachedBuild[] {
  let text: string;
  try {
    text = readFileSync(fileIn(folder), 'utf8');
  } catch {
    return [];
  }
  const builds = text.split('\n').flatMap((line) => {
    try {
      const build = JSON.parse(line) as CachedBuild;
      return typeof build.id === 'string' && typeof build.at === 'number' ? [build] : [];
    } catch {
      return [];
    }
  });
  return builds.filter((build) => tenant === undefined || build.tenant === tenant).reverse();
}
