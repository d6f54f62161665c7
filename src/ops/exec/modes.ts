/** The network and the security mode of a step, from their numbers in LLB. Pure. */
import { fail } from '../../errors/index.ts';
import type { ExecSpec } from '../../executor/index.ts';
import { NetMode, ProxyMode, SecurityMode } from '../../llb/index.ts';

const networks: Partial<Record<number, ExecSpec['network']>> = {
  [NetMode.UNSET]: 'default',
  [NetMode.HOST]: 'host',
  [NetMode.NONE]: 'none',
};
/** The network by which a step's proxy asks, of steps that go by one. */
const egresses: Partial<Record<number, 'default' | 'host'>> = {
  [ProxyMode.default]: 'default',
  [ProxyMode.host]: 'host',
};
const securities: Partial<Record<number, ExecSpec['security']>> = {
  [SecurityMode.SANDBOX]: 'sandbox',
  [SecurityMode.INSECURE]: 'insecure',
};

/** The network by which the proxy of a step asks; undefined for a step without a proxy. */
export function egressOf(op: { network: number }): 'default' | 'host' | undefined {
  return egresses[op.network];
}

/**
 * `name`: the network of steps that ask for no other one; undefined: the usual one. Throws `invalid` for numbers without
 * a meaning.
 */
export function modesOf(
  op: { network: number; security: number },
  name?: string,
): Pick<ExecSpec, 'network' | 'security'> {
  const network = networkOf(op.network);
  return {
    network: network === 'default' && name !== undefined ? { name } : network,
    security: securityOf(op.security),
  };
}

function networkOf(mode: number): ExecSpec['network'] {
  const network = networks[mode] ?? egresses[mode];
  if (network === undefined) throw fail('invalid', 'llb', `unknown network mode ${mode}`);
  return network;
}

function securityOf(mode: number): ExecSpec['security'] {
  const security = securities[mode];
  if (security === undefined) throw fail('invalid', 'llb', `invalid security mode ${mode}`);
  return security;
}
