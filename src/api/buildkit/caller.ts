/** Who makes a call, and what each method needs of them. */
import { createContextKey, type HandlerContext } from '@connectrpc/connect';
import type { Authority, Scope } from '../../auth/index.ts';
import { fail } from '../../errors/index.ts';

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

/** What each service's methods need, unless `methodScopes` says otherwise. A service that is not here is not served. */
const serviceScopes: Readonly<Record<string, readonly Scope[]>> = {
  'moby.buildkit.v1.Control': ['build'],
  'moby.buildkit.v1.frontend.LLBBridge': ['build'],
  'opentelemetry.proto.collector.trace.v1.TraceService': ['build'],
  'containerd.services.content.v1.Content': ['images:read'],
  'grpc.health.v1.Health': [],
  'grpc.reflection.v1.ServerReflection': [],
  'grpc.reflection.v1alpha.ServerReflection': [],
};

const control = '/moby.buildkit.v1.Control/';

const methodScopes: Readonly<Record<string, readonly Scope[]>> = {
  [`${control}Info`]: ['system:read'],
  [`${control}DiskUsage`]: ['cache:read'],
  [`${control}Prune`]: ['cache:prune'],
};

const writing = new Set(['Solve', 'Prune', 'UpdateBuildHistory'].map((name) => control + name));

/** What one method needs of its caller. */
interface MethodRule {
  /** `/moby.buildkit.v1.Control/Solve`: also what the audit log calls it. */
  path: string;
  scopes: readonly Scope[];
  /** It starts or changes nothing by itself; the calls of a build's frontend are part of its Solve. */
  reads: boolean;
}

/**
 * The rules of methods by their paths, for all that is served: a path that is not exactly one of these is refused
 * before anything else looks at it. Throws on a method of a service that nobody gave scopes.
 */
export function methodRules(paths: Iterable<string>): ReadonlyMap<string, MethodRule> {
  const rules = new Map<string, MethodRule>();
  for (const path of paths) {
    const service = path.split('/')[1] ?? '';
    const scopes = Object.hasOwn(methodScopes, path) ? methodScopes[path] : serviceScopes[service];
    if (scopes === undefined) throw new Error(`the service ${service} has no scopes`);
    rules.set(path, { path, scopes, reads: !writing.has(path) });
  }
  return rules;
}
