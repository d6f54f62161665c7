/** Which requests are the engine's, and what they need. Pure. */
import type { Scope } from '../../../auth/index.ts';

/** The first parts of paths that are about containers and what they use. */
const runtime = new Set([
  'commit',
  'configs',
  'containers',
  'exec',
  'networks',
  'nodes',
  'plugins',
  'secrets',
  'services',
  'swarm',
  'tasks',
  'volumes',
]);

/** The part of a path (without version) that says that the container runtime is asked; undefined for other paths. */
export function runtimePart(path: string): string | undefined {
  const first = /^\/([a-z]+)(?:\/|$)/.exec(path)?.[1];
  return first !== undefined && runtime.has(first) ? first : undefined;
}

/** Paths that only look, and tell what lets a reader in or have the engine call others: a swarm's tokens and key. */
const telling = new Set(['/plugins/privileges', '/swarm', '/swarm/unlockkey']);

/** The scope that a request to the engine needs: looking needs less than changing and speaking with a container. */
export function engineScope(method: string, path: string): Scope {
  const looks = method === 'GET' || method === 'HEAD';
  return looks && !telling.has(path) && !path.endsWith('/attach/ws') ? 'engine:read' : 'engine:write';
}

/**
 * Whether the engine gives its connection away for a request: those that speak with a container. Other requests that ask
 * for another protocol (Java's client asks for HTTP/2 each time) are answered as if they had not.
 */
export function givesAway(method: string, path: string): boolean {
  if (method === 'GET') return /^\/containers\/[^/]+\/attach\/ws$/.test(path);
  return method === 'POST' && /^\/(?:containers\/[^/]+\/attach|exec\/[^/]+\/start)$/.test(path);
}

/** The path for the audit log, without names and IDs: `/containers/{name}/logs`. */
export function shownPath(path: string): string {
  const [, first = '', ...rest] = path.split('/');
  if (rest.length === 0) return `/${first}`;
  const [name = '', ...more] = rest;
  const isWord =
    more.length === 0 &&
    [
      'json',
      'create',
      'prune',
      'init',
      'join',
      'leave',
      'update',
      'unlockkey',
      'unlock',
      'privileges',
      'pull',
    ].includes(name);
  return isWord ? `/${first}/${name}` : `/${first}/{name}${more.map((each) => `/${each}`).join('')}`;
}
