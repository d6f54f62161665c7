/** Finds out where a git remote over http has moved to. */
import { HttpPool } from '../registry/index.ts';

const pool = new HttpPool();

/**
 * Follows a remote's redirects as git's first request does; credentials stay with the remote's own origin. Returns the
 * URL that they lead to; undefined when there is none, or it is no repository's. Rejects when there is no answer.
 * https://git-scm.com/docs/gitprotocol-http/
 */
export async function movedTo(
  remote: string,
  authorization: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const asked = '/info/refs';
  const response = await pool.send({
    method: 'GET',
    url: new URL(`${remote.replace(/\/$/, '')}${asked}?service=git-upload-pack`),
    headers: { 'user-agent': 'git/drydock', authorization },
    signal,
    insecure: false,
    idleMs: 60_000,
  });
  response.destroy();
  const { origin, pathname } = response.finalUrl;
  return pathname.endsWith(asked) ? `${origin}${pathname.slice(0, -asked.length)}` : undefined;
}
