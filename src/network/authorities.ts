/** Reads the certificates of authorities that an operator adds for steps. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fail } from '../errors/index.ts';
import { parseBool } from '../words/index.ts';

/** Reads files of certificates (PEM). Throws `invalid` for a file that cannot be read or holds none. */
export function readAuthorities(files: readonly string[]): string[] {
  return files.map((file) => {
    try {
      const text = readFileSync(file, 'utf8');
      new X509Certificate(text);
      return text;
    } catch (cause) {
      throw fail('invalid', 'client', `step-ca: ${file} holds no certificate that can be read`, {
        cause,
        hint: 'It is a file of certificates as PEM: -----BEGIN CERTIFICATE-----.',
      });
    }
  });
}

/** The files that `DRYDOCK_STEP_CA` names, read. Throws `invalid`. */
export function authoritiesFromEnv({ DRYDOCK_STEP_CA: files = '' }: NodeJS.ProcessEnv): string[] {
  return readAuthorities(files.split(',').filter((file) => file !== ''));
}

/** Whether `DRYDOCK_PROXY_NETWORK` has all steps go by a proxy. Throws `invalid`. */
export function proxyFromEnv({ DRYDOCK_PROXY_NETWORK: text }: NodeJS.ProcessEnv): boolean | undefined {
  if (text === undefined || text === '') return undefined;
  const on = parseBool(text);
  if (on === undefined) throw fail('invalid', 'client', `DRYDOCK_PROXY_NETWORK=${text}: want true or false`);
  return on;
}
