/** How a client describes its session when it connects: HTTP headers on `/session`, metadata on Control.Session. */
import type { IncomingHttpHeaders } from 'node:http';
import { fail } from '../errors/index.ts';

export interface SessionInfo {
  id: string;
  /** For people: the name of the build context's folder, or a word of the client's own. */
  name: string;
  /** Identity of the client's folders across builds, for incremental transfers; '' when it has none. */
  sharedKey: string;
  /** Lower-case gRPC methods that it serves, `/moby.filesync.v1.filesync/diffcopy`; empty: not said. */
  methods: ReadonlySet<string>;
  /** How long the client wants one health check to take at most, ms; undefined: not said. */
  healthMs?: number;
}

/** The prefix of all of them, in HTTP/2's lower case. */
const prefix = 'x-docker-expose-session-';
/** Of BuildKit's; its value is a number of ms. */
const healthHeader = 'x-buildkit-session-health-custom-timeout';
/** ms; a busy machine needs the least, and timers end with the most. */
const [leastHealth, mostHealth] = [1_000, 3_600_000];
/** Longest ID, name and key taken; clients' are 25 to 64 characters. */
const longest = 1024;

/**
 * Reads the description. Repeated `-Grpc-Method` headers may come joined by commas, as Node joins them. Throws
 * `invalid` (hop `session`) when there is no ID or it is too long.
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

/** As BuildKit reads it: what is no whole number above 0 says nothing. */
function readHealth(value: string | string[] | undefined): number | undefined {
  const text = (Array.isArray(value) ? value[0] : value)?.trim() ?? '';
  if (!/^\d{1,15}$/.test(text) || Number(text) === 0) return undefined;
  return Math.min(Math.max(Number(text), leastHealth), mostHealth);
}

/** The ID to look up: some clients put a word and a colon before it, to tell their folders' vertices apart. */
export function plainSessionId(id: string): string {
  const colon = id.indexOf(':');
  return colon >= 0 && colon < id.length - 1 ? id.slice(colon + 1) : id;
}
