/** Finds the route that answers a request. Pure. */
import type { Route } from './route.ts';

interface FoundRoute {
  route: Route;
  /** The text that stands for `*`; '' in a path without one. */
  name: string;
  /** The route's path in messages and in the audit log, `/images/{name}/json`. */
  shown: string;
}

/** The route of a method and a path (`parseTarget`'s). A route without `*` comes before one with it. */
export function findRoute(routes: readonly Route[], method: string, path: string): FoundRoute | undefined {
  let found: FoundRoute | undefined;
  for (const route of routes) {
    if (route.method !== method) continue;
    if (route.path === path) return { route, name: '', shown: path };
    if (found !== undefined || !route.path.endsWith('*')) continue;
    const [prefix, suffix = ''] = [route.path.slice(0, -1), route.suffix];
    if (!path.startsWith(prefix) || !path.endsWith(suffix)) continue;
    const name = path.slice(prefix.length, path.length - suffix.length);
    if (name === '') continue;
    found = { route, name, shown: `${prefix}{name}${suffix}` };
  }
  return found;
}
