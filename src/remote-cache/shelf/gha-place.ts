/** The attributes of caches in GitHub's cache of Actions, read and checked. Pure. https://github.com/moby/buildkit#export-cache */
import { fail } from '../../errors/index.ts';
import { durationMs } from '../../words/index.ts';
import type { CacheSpec } from '../types.ts';

/** A cache in GitHub's cache of Actions, which belongs to a repository and is parted by branches. */
export interface GhaPlace {
  type: 'gha';
  /** The service's URL, without a slash at its end. */
  url: string;
  version: 1 | 2;
  token: string;
  /** The cache's name within the repository. */
  scope: string;
  /** How long a request may be tried, ms. */
  timeoutMs: number;
  /** The repository (`owner/name`) and a token of GitHub's REST API, which lists what is there in one go. */
  list?: { repository: string; token: string; api: string };
}

export const ghaAttrs: readonly string[] = [
  ...['scope', 'url', 'url_v2', 'token', 'repository', 'ghtoken', 'timeout', 'version'],
];

/** Reads the place. Throws `invalid` (hop `cache`) without a token and a URL, which a job of Actions has. */
export function ghaPlace(
  attrs: CacheSpec['attrs'],
  env: Readonly<Record<string, string | undefined>>,
): GhaPlace {
  const { token } = attrs;
  const wanted = attrs.version;
  if (wanted !== undefined && wanted !== '1' && wanted !== '2') {
    throw fail('invalid', 'cache', 'cache type=gha: version= is 1 or 2');
  }
  const second = wanted === '1' ? undefined : attrs.url_v2 || undefined;
  const url = second ?? (attrs.url || undefined);
  if (!token || url === undefined) {
    const lacks = token ? 'url= or url_v2=' : 'token=';
    throw fail('invalid', 'cache', `cache type=gha: ${lacks} is missing`, {
      hint: 'The steps of an action have ACTIONS_RUNTIME_TOKEN and ACTIONS_RESULTS_URL; a `run` step gets them from crazy-max/ghaction-github-runtime.',
    });
  }
  const isHttp = URL.canParse(url) && /^https?:$/.test(new URL(url).protocol);
  if (!isHttp) throw fail('invalid', 'cache', 'cache type=gha: url= is no HTTP URL');
  const isNew = second !== undefined || wanted === '2' || new URL(url).hostname === resultsHost;
  const ms = attrs.timeout === undefined ? 600_000 : durationMs(attrs.timeout);
  if (ms === undefined || ms <= 0) {
    throw fail('invalid', 'cache', 'cache type=gha: timeout= is no duration, such as 10m');
  }
  const { repository, ghtoken } = attrs;
  if (repository && !/^[\w.-]+\/[\w.-]+$/.test(repository)) {
    throw fail('invalid', 'cache', 'cache type=gha: repository= is OWNER/NAME');
  }
  return {
    ...{ type: 'gha', token, scope: attrs.scope || 'buildkit', timeoutMs: ms },
    url: url.replace(/\/+$/, ''),
    version: isNew ? 2 : 1,
    ...(repository && ghtoken
      ? { list: { repository, token: ghtoken, api: env.GITHUB_API_URL || 'https://api.github.com' } }
      : {}),
  };
}

/** The host of the second version, by which clients that say no version are understood. */
const resultsHost = 'results-receiver.actions.githubusercontent.com';

/**
 * The attributes of a cache as the variables of a job of Actions complete them, as docker buildx does for its clients.
 * Pure.
 */
export function withActions(spec: CacheSpec, env: Readonly<Record<string, string | undefined>>): CacheSpec {
  if (spec.type !== 'gha') return spec;
  const v2 = /^(1|t|true)$/i.test(env.ACTIONS_CACHE_SERVICE_V2 ?? '') || !env.ACTIONS_CACHE_URL;
  const found = {
    token: env.ACTIONS_RUNTIME_TOKEN,
    url_v2: v2 ? env.ACTIONS_RESULTS_URL : undefined,
    url: env.ACTIONS_CACHE_URL || env.ACTIONS_RESULTS_URL,
  };
  const attrs: Record<string, string> = { ...spec.attrs };
  for (const [name, value] of Object.entries(found)) if (value && !attrs[name]) attrs[name] = value;
  return { type: spec.type, attrs };
}
