/** Lists what a repository's cache of Actions has, by GitHub's REST API: one question in the place of one per layer. */
import { throwIfAborted } from '../../errors/index.ts';
import type { ActionsScope } from '../../object-store/index.ts';
import { HttpPool } from '../../registry/index.ts';
import { version } from '../../version.ts';
import type { GhaPlace } from './gha-place.ts';

const pageSize = 100;
/** GitHub keeps 10 GB for a repository: more pages than these are not of a sound service. */
const mostPages = 200;
const maxPage = 1 << 20;

/** The keys that begin with `prefix`, in all scopes; undefined when they cannot be listed. */
export async function listedKeys(
  { api, repository, token }: NonNullable<GhaPlace['list']>,
  scopes: readonly ActionsScope[],
  prefix: string,
  signal: AbortSignal | undefined,
): Promise<ReadonlySet<string> | undefined> {
  const pool = new HttpPool();
  const keys = new Set<string>();
  try {
    for (const { scope } of scopes) {
      for (let page = 1; page <= mostPages; page++) {
        const url = new URL(`${api.replace(/\/$/, '')}/repos/${repository}/actions/caches`);
        const query = { per_page: String(pageSize), page: String(page), ref: scope, key: prefix };
        for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
        const headers = {
          accept: 'application/vnd.github+json',
          authorization: `Bearer ${token}`,
          'user-agent': `drydock/${version}`,
          'x-github-api-version': '2022-11-28',
        };
        const answer = await pool.send({
          ...{ method: 'GET', url, headers, signal, insecure: false, idleMs: 30_000, secret: true },
        });
        const parts: Buffer[] = [];
        let size = 0;
        for await (const part of answer as AsyncIterable<Buffer>) {
          size += part.length;
          if (size > maxPage) return undefined;
          parts.push(part);
        }
        if (answer.statusCode !== 200) return undefined;
        const { actions_caches: found = [] } = JSON.parse(Buffer.concat(parts).toString('utf8')) as {
          actions_caches?: { key?: unknown }[];
        };
        for (const { key } of found) if (typeof key === 'string') keys.add(key);
        if (found.length < pageSize) break;
      }
    }
    return keys;
  } catch {
    throwIfAborted(signal);
    return undefined;
  } finally {
    pool.close();
  }
}
