/** Finds the hosts that serve a reference's domain. */
import { ipFamily } from '../words/index.ts';

/** One server to ask for a repository. */
interface RegistryEndpoint {
  /** `registry-1.docker.io`, `localhost:5000` */
  host: string;
  /** The key of its credentials: the host, or Docker Hub's odd key. */
  credentialKey: string;
}

/** The API host of a reference's domain; Docker Hub's is another than its domain. */
export function endpointOf(domain: string): RegistryEndpoint {
  if (domain === 'docker.io' || domain === 'index.docker.io' || domain === 'registry-1.docker.io') {
    return { host: 'registry-1.docker.io', credentialKey: 'https://index.docker.io/v1/' };
  }
  return { host: domain, credentialKey: domain };
}

/** The domain of references whose API host this is: the other way of `endpointOf`. */
export function domainOf(host: string): string {
  return host === endpointOf('docker.io').host ? 'docker.io' : host;
}

/** Whether a host (with or without port) is this machine, with which docker speaks plain HTTP. */
export function isLocalHost(host: string): boolean {
  const name = hostname(host);
  if (name === 'localhost' || name.endsWith('.localhost')) return true;
  return ipFamily(name) === 4 ? name.startsWith('127.') : name === '::1';
}

/** The host without its port and without IPv6 brackets. */
export function hostname(host: string): string {
  const v6 = /^\[([0-9a-fA-F:]+)\]/.exec(host);
  return v6?.[1] ?? host.replace(/:\d+$/, '');
}
