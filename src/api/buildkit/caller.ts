/** Who makes a call, and what each method needs of them. */
import { createContextKey, type HandlerContext } from '@connectrpc/connect';
import type { Authority, Scope } from '../../auth/types.ts';
import { fail } from '../../errors/error.ts';

/** Where the server puts the answer of `admit`. */
export const callerKey = createContextKey<Authority | undefined>(undefined, {
  description: 'who calls, and what they may do',
});

/** The one who makes a call. */
export function callerOf(context: Pick<HandlerContext, 'values'>): Authority {
  const authority = context.values.get(callerKey);
  if (authority === undefined) throw fail('unauthenticated', 'host', 'the call was not admitted');
  return authority;
}

const control = '/moby.buildkit.v1.Control/';

const scopes: Readonly<Record<string, readonly Scope[]>> = {
  [`${control}Info`]: ['system:read'],
  [`${control}DiskUsage`]: ['cache:read'],
  [`${control}Prune`]: ['cache:prune'],
};

const content = '/containerd.services.content.v1.Content/';

/** Scopes that a method needs. Health checks and reflection are open; all the rest is part of building. */
export function scopesOf(path: string): readonly Scope[] {
  if (path.startsWith('/grpc.health.') || path.startsWith('/grpc.reflection.')) return [];
  if (path.startsWith(content)) return ['images:read'];
  return Object.hasOwn(scopes, path) ? (scopes[path] ?? []) : ['build'];
}

const writing = new Set(['Solve', 'Prune', 'UpdateBuildHistory'].map((name) => control + name));

/** Whether a method starts or changes something by itself; the calls of a build's frontend are part of its Solve. */
export function writes(path: string): boolean {
  return writing.has(path);
}
