/**
 * Gives steps their networks: namespaces with a way out, kept ready. `createNetwork` makes the networks of an engine, and
 * `Network.acquire` gives a step its own until it is released.
 */
export { authoritiesFromEnv, proxyFromEnv, readAuthorities } from './authorities.ts';
export { createNetwork } from './network.ts';
export type { DnsConfig } from './resolv.ts';
export { type NetworkSetting, networkFromEnv, networkOptions } from './settings.ts';
export type { Network, NetworkOptions, ProxyRequest, StepNetwork } from './types.ts';
