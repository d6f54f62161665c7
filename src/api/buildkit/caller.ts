/** The caller of a method, and the scopes that each method needs. */
import { createContextKey, type HandlerContext } from '@connectrpc/connect';
import type { Authority, Scope } from '../../auth/index.ts';
import { fail } from '../../errors/index.ts';

/** The server keeps the answer of `admit` here. */
export const callerKey = createContextKey<Authority | undefined>(undefined, {
  description: 'who calls, and what they may do',
});

/** The authority of the one who makes a call. */
export function callerOf(context: Pick<HandlerContext, 'values'>): Authority {
  const authority = context.values.get(callerKey);
  if (authority === undefined) throw fail('unauthenticated', 'host', 'the call was not admitted');
  return authority;
}

/**
 * The scopes that the methods of each service need, unless `methodScopes` says otherwise. A service that is not in the
 * table is not served.
 */
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

/** The rule for the callers of one method. */
interface MethodRule {
  /** The path, `/moby.buildkit.v1.Control/Solve`. The audit log names the method by it. */
  path: string;
  scopes: readonly Scope[];
  /** Whether the method by itself starts and changes nothing. The calls of a build's frontend are part of its Solve. */
  reads: boolean;
}

/**
 * The rules of all served methods, by their paths. A path that is not exactly one of these is refused before anything
 * else looks at it. Throws for a method of a service without scopes.
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
