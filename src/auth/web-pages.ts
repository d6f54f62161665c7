/** What a browser's requests tell of the page that makes them, and which pages are refused. Pure. */
import { fail } from '../errors/index.ts';
import type { Ask, AuthRequest, Listener } from './types.ts';

/**
 * Refuses the requests of web pages but our own. A browser on this machine reaches a loopback port for any page that it
 * shows, under any name that the page's owner gives to 127.0.0.1, and it sends certificates and passwords along whoever
 * asks. Docker's clients are no browsers. Throws `denied`.
 *
 * `stranger`: nobody in particular asks, so that nothing but the address protects the daemon.
 */
export function refuseWebPages(
  { headers }: AuthRequest,
  listener: Listener,
  { fromPage }: Pick<Ask, 'fromPage'>,
  stranger: boolean,
): void {
  const host = String(headers[':authority'] ?? headers.host ?? '');
  const site = headers['sec-fetch-site'];
  const { origin } = headers;
  if (listener.kind === 'tcp' && (stranger || fromPage !== undefined) && !isLoopbackName(host))
    throw refused();
  if (origin === undefined && site === undefined) return;
  if (isSameOrigin(origin, site, host)) {
    if (fromPage !== undefined || !(stranger && listener.kind === 'tcp')) return;
    throw refused();
  }
  // A link to the page, which has no data of its own.
  if (fromPage === 'document' && origin === undefined && headers['sec-fetch-mode'] === 'navigate') return;
  throw refused();
}

/** Whether a Host header names this machine itself; a client of old that sends none is let pass. */
function isLoopbackName(host: string): boolean {
  const name = host.replace(/:\d*$/, '');
  return name === '' || /^(localhost|127(\.\d+){3}|\[::1\])$/i.test(name);
}

function isSameOrigin(origin: string | undefined, site: unknown, host: string): boolean {
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return false;
  return origin === undefined || origin.replace(/^https?:\/\//i, '').toLowerCase() === host.toLowerCase();
}

function refused(): Error {
  return fail('denied', 'client', 'requests from web pages are refused, but for those of the page at /ui', {
    hint: 'Address the daemon as localhost or 127.0.0.1, and send no Origin header; or use a token.',
  });
}
