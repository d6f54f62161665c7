/** The CAs and client certificates for a registry's host. */
import { readdirSync, readFileSync } from 'node:fs';
import { errnoCode, fail } from '../errors/index.ts';

/** The paths of PEM files. */
export interface HostCertificates {
  /** CAs that are trusted besides the well-known ones. */
  ca?: readonly string[];
  /** Our own certificates, each with its key. */
  keypairs?: readonly { cert: string; key: string }[];
}

interface LoadedCertificates {
  ca: string[];
  cert?: string[];
  key?: string[];
}

/**
 * Reads the certificates that are configured for a host, and those that docker's users put into
 * /etc/docker/certs.d/HOST: `*.crt` are CAs, `*.cert` with a `*.key` of the same name are our own. Throws `invalid`
 * when a configured file cannot be read.
 */
export function readCertificates(host: string, configured: HostCertificates = {}): LoadedCertificates {
  const filed = filedFor(host);
  const pairs = [...(configured.keypairs ?? []).map(loaded), ...filed.keypairs];
  return {
    ca: [...(configured.ca ?? []).map(readPem), ...filed.ca],
    ...(pairs.length > 0 && { cert: pairs.map((pair) => pair.cert), key: pairs.map((pair) => pair.key) }),
  };
}

function loaded(pair: { cert: string; key: string }): { cert: string; key: string } {
  return { cert: readPem(pair.cert), key: readPem(pair.key) };
}

function readPem(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw fail('invalid', 'registry', `the certificate file ${file} cannot be read (${errnoCode(cause)})`, {
      cause,
    });
  }
}

function filedFor(host: string): { ca: string[]; keypairs: { cert: string; key: string }[] } {
  const dir = `/etc/docker/certs.d/${host}`;
  try {
    const names = readdirSync(dir);
    return {
      ca: names.filter((name) => name.endsWith('.crt')).map((name) => readFileSync(`${dir}/${name}`, 'utf8')),
      keypairs: names
        .filter((name) => name.endsWith('.cert') && names.includes(name.replace(/cert$/, 'key')))
        .map((name) => loaded({ cert: `${dir}/${name}`, key: `${dir}/${name.replace(/cert$/, 'key')}` })),
    };
  } catch {
    return { ca: [], keypairs: [] };
  }
}
