/** A route of the page's API, as the tables in this folder declare it. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Authority, Scope } from '../../auth/index.ts';
import type { Engine } from '../../engine/index.ts';
import { fail } from '../../errors/index.ts';
import type { ApiHost } from '../shared/host.ts';
import type { UiBuilds } from './builds.ts';

/** One request, as its handler sees it. */
export interface UiCall {
  host: UiHost;
  /** Throws `unsupported` when it is read of a daemon that keeps none. */
  readonly builds: UiBuilds;
  request: IncomingMessage;
  response: ServerResponse;
  /** The decoded texts that stand for the `*` in the route's path. */
  names: string[];
  query: URLSearchParams;
  authority: Authority;
  /** Fires when the client is gone before the answer is complete, or the server ends. */
  signal: AbortSignal;
}

/** The parts of a daemon that the page needs. */
export type UiHost = Pick<ApiHost, 'admit' | 'log'> &
  Partial<Pick<ApiHost, 'engine' | 'events' | 'observed'>> & {
    readonly builds?: Pick<ApiHost['builds'], 'cancel'>;
  };

/** The engine behind the page. Throws `unsupported` where the page has one build and nothing else. */
export function engineOf({ engine }: UiHost): Engine {
  if (engine !== undefined) return engine;
  throw fail('unsupported', 'host', 'this page shows a build, and no images and caches', {
    hint: 'A daemon has them on its page: see `drydock ui`.',
  });
}

/** The result of a handler: JSON, or nothing when the handler answers itself. */
type UiAnswer = { json: unknown } | undefined;

/** A route: its method and path below `/ui/api/v1`, the scopes that it needs, and its handler. */
export interface UiRoute {
  method: 'GET' | 'POST' | 'DELETE';
  /** The path; each `*` is one name, percent-encoded in URLs. */
  path: string;
  scopes: readonly Scope[];
  handle(call: UiCall): Promise<UiAnswer> | UiAnswer;
}

/** Finds the route of a method and a path; undefined when there is none. Throws `invalid` for names that are not encoded. */
export function findUiRoute(
  routes: readonly UiRoute[],
  method: string,
  path: string,
): { route: UiRoute; names: string[] } | undefined {
  const parts = path.split('/');
  for (const route of routes) {
    const wanted = route.path.split('/');
    if (route.method !== method || wanted.length !== parts.length) continue;
    if (wanted.every((each, i) => each === '*' || each === parts[i])) {
      return { route, names: parts.filter((_, i) => wanted[i] === '*').map(decoded) };
    }
  }
  return undefined;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw fail('invalid', 'client', `${text} is not percent-encoded`);
  }
}

/** A number of the query. Throws `invalid`. */
export function numberIn(
  query: URLSearchParams,
  name: string,
  { or, most }: { or: number; most: number },
): number {
  const text = query.get(name);
  if (text === null || text === '') return or;
  if (!/^\d{1,15}$/.test(text))
    throw fail('invalid', 'client', `${name} must be a number, not ${JSON.stringify(text)}`);
  return Math.min(Number(text), most);
}
