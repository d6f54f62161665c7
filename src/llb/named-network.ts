/** Notes the network that an operator has named on the steps of a definition, in a place that does not change digests. */
import { fail } from '../errors/index.ts';
import type { Definition, OpMetadata } from '../pb/solver/pb/ops_pb.js';

const key = 'drydock.network';

/** Notes a network's name on every op; undefined: none. */
export function nameNetwork(definition: Definition, name: string | undefined): void {
  if (name === undefined) return;
  for (const metadata of Object.values(definition.metadata)) metadata.description[key] = name;
}

/** The name that is noted on an op; undefined when there is none. */
export function networkNameOf(metadata: OpMetadata | undefined): string | undefined {
  const { description = {} } = metadata ?? {};
  return Object.hasOwn(description, key) ? description[key] : undefined;
}

/** Reads a network mode: one of LLB's, or the name of a network. Throws `invalid` for what can be no name. */
export function parseNetwork(text: string): { network: 'default' | 'host' | 'none'; networkName?: string } {
  if (['', 'default', 'bridge', 'sandbox'].includes(text)) return { network: 'default' };
  if (text === 'host' || text === 'none') return { network: text };
  if (/^[A-Za-z0-9][\w.-]*$/.test(text)) return { network: 'default', networkName: text };
  throw fail('invalid', 'client', `network mode ${JSON.stringify(text)} not supported by drydock`, {
    hint: 'Modes: default, none, host, and the networks that the operator has named. There are no containers to join.',
  });
}
