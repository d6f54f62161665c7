/**
 * Who may ask a server that a command opens for the browser of its user: who has come by the one-time link, from the
 * server's own page. Pure.
 *
 * Cookies do not tell ports apart, and programs of other users may listen on this machine. So the server has an address
 * of its own in 127.0.0.0/8, whose cookies go to nobody else, unless a port was chosen for a tunnel.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/** What becomes of a request. */
type Verdict =
  | { kind: 'pass' }
  /** The link was followed: the browser gets the cookie. */
  | { kind: 'welcome'; cookie: string }
  | { kind: 'refused'; status: 401 | 403 | 404; why: string };

interface Asked {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
}

/** The link of one server, and the cookie that it is turned into. */
export class LinkGuard {
  readonly #names: ReadonlySet<string>;
  readonly #cookie: string;
  readonly #secret = randomBytes(32).toString('base64url');
  readonly #token = randomBytes(32).toString('base64url');
  #used = false;

  /** `address` and `port` are the server's. A tunnel's other end is `localhost` or 127.0.0.1, with the same port. */
  constructor(address: string, port: number) {
    const hosts = address === '127.0.0.1' ? [address, 'localhost'] : [address];
    this.#names = new Set(hosts.map((host) => `${host}:${port}`));
    this.#cookie = `drydock-ui-${port}`;
  }

  /** The path of the link; it works once. */
  get path(): string {
    return `/open/${this.#token}`;
  }

  judge({ method, path, headers }: Asked): Verdict {
    const host = headers.host ?? '';
    if (!this.#names.has(host)) return refused(403, 'this server has another name');
    const { origin } = headers;
    const site = headers['sec-fetch-site'];
    const own = site === undefined || site === 'same-origin' || site === 'none';
    if (origin !== undefined && origin !== `http://${host}`) return refused(403, 'another page asks');
    if (path.startsWith('/open/')) {
      if (!own && headers['sec-fetch-mode'] !== 'navigate') return refused(403, 'another page asks');
      if (method !== 'GET') return refused(404, 'there is nothing here');
      if (this.#used || !equal(path, this.path))
        return refused(403, 'the link has been used, or is not whole');
      this.#used = true;
      return {
        kind: 'welcome',
        cookie: `${this.#cookie}=${this.#secret}; HttpOnly; SameSite=Strict; Path=/ui`,
      };
    }
    if (!own) return refused(403, 'another page asks');
    if (!/^\/ui(?:[/?]|$)/.test(path)) return refused(404, 'there is nothing here');
    const cookies = (headers.cookie ?? '').split(/;\s*/);
    if (!cookies.some((each) => equal(each, `${this.#cookie}=${this.#secret}`)))
      return refused(401, 'the link that the command has printed leads here');
    return { kind: 'pass' };
  }
}

function refused(status: 401 | 403 | 404, why: string): Verdict {
  return { kind: 'refused', status, why };
}

function equal(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
