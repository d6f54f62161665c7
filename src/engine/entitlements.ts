import { fail, nearest } from '../errors/index.ts';
import { type Graph, NetMode, ProxyMode, SecurityMode } from '../llb/index.ts';

/** The names of the entitlements that there are. */
export const entitlementNames = ['network.host', 'security.insecure', 'device'];

/**
 * Checks the names of the entitlements that a build asks for, such as `network.host` or `device=vendor.com/gpu=one`.
 * Throws `invalid` for one that there is not: it would grant nothing.
 */
export function checkEntitlementNames(asked: readonly string[]): void {
  for (const entitlement of asked) {
    const [name = ''] = entitlement.split('=', 1);
    if (entitlementNames.includes(name)) continue;
    throw fail('invalid', 'client', `unknown entitlement ${JSON.stringify(entitlement)}`, {
      hint: `Did you mean ${nearest(name, entitlementNames) ?? entitlementNames.join(', ')}?`,
    });
  }
}

/**
 * Refuses a graph with steps that ask for more than the build was granted. Throws `denied`, which names the step, its
 * line, the entitlement and the flag that grants it.
 */
export function checkEntitlements(graph: Graph, allow: readonly string[]): void {
  for (const { op, name, source } of graph.vertices) {
    if (op.op.case !== 'exec') continue;
    const { network, security } = op.op.value;
    const needs: string[] = [];
    if (network === NetMode.HOST || (network as number) === ProxyMode.host) needs.push('network.host');
    if (security === SecurityMode.INSECURE) needs.push('security.insecure');
    const missing = needs.find((entitlement) => !allow.includes(entitlement));
    if (missing === undefined) continue;
    throw fail('denied', 'solver', `entitlement ${missing} is not allowed`, {
      step: name,
      source,
      hint: `Grant it with --allow ${missing}.`,
      details: { entitlement: missing },
    });
  }
}

/** Throws `denied` when the build was not granted the entitlement. */
export function requireEntitlement(entitlement: string, allow: readonly string[]): void {
  if (allow.includes(entitlement)) return;
  throw fail('denied', 'solver', `entitlement ${entitlement} is not allowed`, {
    hint: `Grant it with --allow ${entitlement}.`,
    details: { entitlement },
  });
}
