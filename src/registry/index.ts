/** A client of registries: resolve, fetch, push, tokens, mirrors, certificates. */
export type { HostCertificates } from './certificates.ts';
export { RegistryClient, type RegistryClientOptions } from './client.ts';
export { endpointOf } from './hosts.ts';
export { HttpPool, type HttpResponse, readBody } from './http.ts';
export { parseInsecure } from './insecure.ts';
export type { Referrer } from './referrers.ts';
