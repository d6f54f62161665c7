/** The data that a view begins with. It is asked for while the page's script is still on its way. */
import { readAddress } from './address.ts';

export const api = '/ui/api/v1';

/** The builds that a list shows first; the others come after them. */
export const firstBuilds = 200;

export const buildAt = (ref: string) => `${api}/builds/${encodeURIComponent(ref)}`;
export const buildsAt = (limit: number) => `${api}/builds?limit=${limit}`;

/** Answers on their way, by their addresses. */
export type Started = Map<string, Promise<Response>>;

/** What the view at an address (the part behind the `#`) asks for first. */
export function firstAddresses(hash: string): string[] {
  const { path } = readAddress(hash);
  const [view = 'builds', ...refs] = path;
  const me = `${api}/me`;
  if (view === 'builds') return [me, refs[0] === undefined ? buildsAt(firstBuilds) : buildAt(refs[0])];
  if (view === 'compare') return [me, ...refs.slice(0, 2).map(buildAt)];
  return [me];
}

/** The answer that is on its way already; it is given once, as later ones may differ. */
export function takeStarted(address: string): Promise<Response> | undefined {
  const { started } = window as { started?: Started };
  const answer = started?.get(address);
  started?.delete(address);
  return answer;
}
