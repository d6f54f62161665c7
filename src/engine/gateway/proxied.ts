/** The network of a process that is no step of a graph: a frontend, or a process in a frontend's container. */
import type { ExecSpec } from '../../executor/index.ts';
import type { Rules } from '../rules.ts';

/**
 * The network of a process under a build's rules: in a build with proxies it is one. Nobody asks what such a process has
 * asked for, so it is not noted.
 */
export function networkUnder(
  rules: Rules,
  network: 'default' | 'host' | 'none',
  {
    hosts = [],
    variables = [],
  }: { hosts?: readonly { host: string; ip: string }[]; variables?: readonly string[] } = {},
): ExecSpec['network'] {
  if (!rules.proxied || network === 'none') return network;
  return { proxy: { egress: network, hosts, variables, check: (url) => rules.judgeUrl(url), reached() {} } };
}
