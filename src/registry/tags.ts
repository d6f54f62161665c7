/** Lists a repository's tags. https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags */
import { fail } from '../errors/index.ts';
import { familiarName } from '../oci/index.ts';
import type { RegistryContext } from './client.ts';
import { readBody } from './http.ts';
import { purposeOf, type Transport } from './transport.ts';

/** The largest page in bytes. A page has some thousand tags at most; more than this shows a fault. */
const maxPage = 8 << 20;
const maxTags = 100_000;

/**
 * All tags, page by page, in the registry's order. Throws the registry's errors, `corrupt`, `exhausted`.
 *
 *     await listTags(transport, 'docker.io', 'library/alpine', { signal }); // ['3', '3.20', …]
 */
export async function listTags(
  transport: Transport,
  domain: string,
  path: string,
  ctx: RegistryContext,
): Promise<string[]> {
  const purpose = purposeOf(`listing the tags of ${familiarName(`${domain}/${path}`)}`, domain, path);
  const tags = new Set<string>();
  let at: string | URL | undefined = 'tags/list';
  while (at !== undefined) {
    const response = await transport.call({ purpose, path, method: 'GET', at, ok: [200], ...ctx });
    const before: number = tags.size;
    for (const tag of tagsOf(await readBody(response, maxPage), purpose.doing)) tags.add(tag);
    if (tags.size > maxTags) {
      throw fail('exhausted', 'registry', `${purpose.doing}: there are more than ${maxTags}`);
    }
    const next = /<([^<>]+)>\s*;\s*rel="?next"?/.exec(String(response.headers.link ?? ''))?.[1];
    const url: URL | undefined = next === undefined ? undefined : new URL(next, response.finalUrl);
    // A page that adds nothing, or leads to another host, ends the list.
    at = url !== undefined && url.host === response.finalUrl.host && tags.size > before ? url : undefined;
  }
  return [...tags];
}

function tagsOf(bytes: Buffer, doing: string): string[] {
  try {
    const { tags } = JSON.parse(bytes.toString('utf8')) as { tags?: unknown };
    if (tags === null || tags === undefined) return [];
    if (Array.isArray(tags)) {
      return tags.filter((tag): tag is string => typeof tag === 'string' && /^\w[\w.-]{0,127}$/.test(tag));
    }
  } catch {
    // The error is thrown below.
  }
  throw fail('corrupt', 'registry', `${doing}: the registry's answer is no list of tags`);
}
