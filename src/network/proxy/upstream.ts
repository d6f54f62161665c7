/** The proxies by which the proxy of a step asks in its turn, as in a company's network. Pure. */

import { ipFamily } from '../../words/index.ts';
import { isIn, parseSubnet } from '../addresses.ts';

/** A proxy to ask by, and whether it is the step's own choice: then it must be one that the step may reach. */
export interface Upstream {
  /** `http://proxy.example:3128`, with a user and a password where it wants them. */
  url: string;
  isOwn: boolean;
}

/** Variables, as `HTTP_PROXY` and so on. */
type Variables = Readonly<Record<string, string | undefined>>;

/**
 * The proxy for a URL by the variables HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in either case: the step's own where it has
 * one, else the builder's. Undefined: it is asked directly.
 */
export function upstreamFor(url: URL, own: Variables, builder: Variables): Upstream | undefined {
  for (const [variables, isOwn] of [
    [own, true],
    [builder, false],
  ] as const) {
    const of = (name: string) => variables[name.toLowerCase()] || variables[name] || '';
    if (of('HTTP_PROXY') === '' && of('HTTPS_PROXY') === '') continue;
    const proxy = of(url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY');
    if (proxy === '' || isExempt(url, of('NO_PROXY'))) return undefined;
    return { url: /^[a-z][a-z0-9+.-]*:\/\//i.test(proxy) ? proxy : `http://${proxy}`, isOwn };
  }
  return undefined;
}

/**
 * Whether a list of exceptions has the host of a URL, read as Go's programs (docker, BuildKit) read it: `*`; addresses and
 * networks; `example.com` with all that is below it; `.example.com` with that alone; each with a port or without.
 */
export function isExempt(url: URL, list: string): boolean {
  const host = url.hostname
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase()
    .replace(/\.$/, '');
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  return list
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .filter((entry) => entry !== '')
    .some((entry) => {
      if (entry === '*') return true;
      const [, name = entry, onPort] = /^(\[[^\]]*\]|[^:]*):(\d+)$/.exec(entry) ?? [];
      if (onPort !== undefined && onPort !== port) return false;
      return covers(name.replace(/^\[(.*)\]$/, '$1'), host);
    });
}

function covers(name: string, host: string): boolean {
  if (ipFamily(name.split('/')[0] ?? '') !== 0) {
    try {
      return isIn(host, parseSubnet(name, 'NO_PROXY'));
    } catch {
      return false;
    }
  }
  const domain = name.replace(/^\*?\./, '');
  return host.endsWith(`.${domain}`) || (domain === name && host === domain);
}
