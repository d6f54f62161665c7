/** A client's description of its session when it connects: HTTP headers of `/session`, metadata of Control.Session. */
import type { IncomingHttpHeaders } from 'node:http';
import { fail } from '../errors/index.ts';

/** A client's description of its session. */
export interface SessionInfo {
  id: string;
  /** A name for people: the build context's folder, or the client's own word. */
  name: string;
  /** The identity of the client's folders across builds, for incremental transfers; '' when the client has none. */
  sharedKey: string;
  /**
   * The gRPC methods that the client serves, in lower case (`/moby.filesync.v1.filesync/diffcopy`). Empty: it did not
   * say.
   */
  methods: ReadonlySet<string>;
  /** How long one health check may take for the client, in ms; undefined: it did not say. */
  healthMs?: number;
}

/** The prefix of the session's headers, in HTTP/2's lower case. */
const prefix = 'x-docker-expose-session-';
/** BuildKit's header for the time of a health check; its value is a number of ms. */
const healthHeader = 'x-buildkit-session-health-custom-timeout';
/** The limits of that time, in ms: a busy machine needs the least, and timers end with the most. */
const [leastHealth, mostHealth] = [1_000, 3_600_000];
/** The longest ID, name and key; those of clients have 25 to 64 characters. */
const longest = 1024;

/**
 * Reads the description. Repeated `-Grpc-Method` headers may come joined by commas, as Node joins them. Throws
 * `invalid` (hop `session`) when the ID is missing or too long.
 */
export function readSessionInfo(headers: IncomingHttpHeaders): SessionInfo {
  const one = (key: string) => {
    const value = headers[prefix + key];
    const text = (Array.isArray(value) ? value[0] : value) ?? '';
    if (text.length > longest) throw fail('invalid', 'session', `the header ${prefix}${key} is too long`);
    return text;
  };
  const id = one('uuid');
  if (id === '') {
    throw fail('invalid', 'session', 'the session has no ID', {
      hint: 'A client names its session in the header X-Docker-Expose-Session-Uuid.',
    });
  }
  const listed = headers[`${prefix}grpc-method`];
  const methods = (Array.isArray(listed) ? listed : [listed ?? ''])
    .flatMap((line) => line.split(','))
    .map((method) => method.trim().toLowerCase())
    .filter((method) => method !== '');
  return {
    id,
    name: one('name'),
    sharedKey: one('sharedkey'),
    methods: new Set(methods),
    healthMs: readHealth(headers[healthHeader]),
  };
}

/** Reads the header as BuildKit does: a value that is no whole number above 0 says nothing. */
function readHealth(value: string | string[] | undefined): number | undefined {
  const text = (Array.isArray(value) ? value[0] : value)?.trim() ?? '';
  if (!/^\d{1,15}$/.test(text) || Number(text) === 0) return undefined;
  return Math.min(Math.max(Number(text), leastHealth), mostHealth);
}

/** The ID to look up. Some clients put a word and a colon before it, to tell the vertices of their folders apart. */
export function plainSessionId(id: string): string {
  const colon = id.indexOf(':');
  return colon >= 0 && colon < id.length - 1 ? id.slice(colon + 1) : id;
}
