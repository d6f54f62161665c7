/** From a request to the route that answers it. Pure. */
import type { Route } from './route.ts';

interface FoundRoute {
  route: Route;
  /** What stands for `*`; '' in a path that has none. */
  name: string;
  /** The route's path as messages and the audit log show it, `/images/{name}/json`. */
  shown: string;
}

/** The route of a method and a path (`parseTarget`'s): one that is written out before one with `*`. */
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
