/**
 * The TLS options of a listener, from PEM files. They are checked so that a mistake shows at the start and not at a
 * handshake.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { TlsOptions } from 'node:tls';
import { DrydockError, errnoCode, fail } from '../errors/index.ts';
import type { AuthLog } from './log.ts';

export interface TlsFiles {
  /** The daemon's certificate, with the chain behind it. */
  cert: string;
  key: string;
  /** The CA certificates that sign client certificates; undefined: clients need a token. */
  ca?: string;
  /** Refuses connections without a good certificate at the handshake, before tokens are looked at. */
  requireCertificate?: boolean;
}

const soonMs = 14 * 24 * 3600_000;

/**
 * The options for `tls.createServer`, `https.createServer` or, at a renewal, `server.setSecureContext`. Throws
 * `not-found`, `denied` or `invalid`, with the file and its fault. Never shows the content of a key file.
 */
export function tlsListenerOptions(files: TlsFiles, log: AuthLog = () => {}): TlsOptions {
  const cert = readPem(files.cert, 'TLS certificate');
  const chain = certificatesOf(cert, files.cert, 'TLS certificate');
  const key = readPem(files.key, 'TLS key');
  const privateKey = keyOf(key, files.key);
  const own = chain[0] as X509Certificate;
  if (!own.checkPrivateKey(privateKey)) {
    throw fail(
      'invalid',
      'host',
      `the TLS key ${files.key} is not the key of the certificate ${files.cert}`,
      {
        hint: 'The daemon’s own certificate must come first in its file, its issuers after it.',
      },
    );
  }
  checkTimes(own, files.cert, log);
  if ((statSync(files.key).mode & 0o077) !== 0 && statSync(files.key).mode & 0o007) {
    log(
      'warn',
      `the TLS key ${files.key} can be read by anyone on this machine; run \`chmod 600 ${files.key}\``,
    );
  }
  let ca: string | undefined;
  if (files.ca !== undefined) {
    ca = readPem(files.ca, 'CA certificate');
    for (const each of certificatesOf(ca, files.ca, 'CA certificate')) {
      if (!each.ca) {
        throw fail(
          'invalid',
          'host',
          `${files.ca} has a certificate that is no CA (${oneLine(each.subject)})`,
          {
            hint: 'Name the certificate that signs client certificates.',
          },
        );
      }
      checkTimes(each, files.ca, log);
    }
  } else if (files.requireCertificate) {
    throw fail(
      'invalid',
      'host',
      'client certificates can only be required when there is a CA to check them',
      {
        hint: 'Name the CA’s certificate too.',
      },
    );
  }
  return {
    cert,
    key,
    ca,
    minVersion: 'TLSv1.2',
    requestCert: ca !== undefined,
    // A client without a certificate may have a token; auth looks at `authorized` and tells what is wrong.
    rejectUnauthorized: files.requireCertificate ?? false,
  };
}

function readPem(file: string, what: string): string {
  try {
    const { size } = statSync(file);
    if (size > 1 << 20) throw fail('invalid', 'host', `the ${what} ${file} is larger than 1 MiB`);
    return readFileSync(file, 'utf8');
  } catch (err) {
    if (err instanceof DrydockError) throw err;
    if (errnoCode(err) === 'ENOENT')
      throw fail('not-found', 'host', `there is no ${what} ${file}`, { cause: err });
    throw fail(
      'denied',
      'host',
      `the ${what} ${file} cannot be read (${errnoCode(err) ?? 'unknown error'})`,
      {
        cause: err,
      },
    );
  }
}

function certificatesOf(pem: string, file: string, what: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) {
    const found = /-----BEGIN ([A-Z0-9 ]+)-----/.exec(pem)?.[1];
    throw fail(
      'invalid',
      'host',
      `the ${what} ${file} holds ${found === undefined ? 'no PEM' : `a ${found.toLowerCase()}, not a certificate`}`,
      { hint: 'The file begins with -----BEGIN CERTIFICATE-----.' },
    );
  }
  return blocks.map((block) => {
    try {
      return new X509Certificate(block);
    } catch (err) {
      throw fail('invalid', 'host', `the ${what} ${file} is damaged`, { cause: err });
    }
  });
}

function keyOf(pem: string, file: string): KeyObject {
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(pem)) {
    throw fail('invalid', 'host', `the TLS key ${file} is encrypted`, {
      hint: `Decrypt it for the daemon: \`openssl pkey -in ${file} -out KEY && chmod 600 KEY\`.`,
    });
  }
  try {
    return createPrivateKey(pem);
  } catch {
    // The cause is left out: it could quote the file.
    const found = /-----BEGIN ([A-Z0-9 ]+)-----/.exec(pem)?.[1];
    throw fail(
      'invalid',
      'host',
      `the TLS key ${file} ${found === undefined ? 'holds no PEM' : found.endsWith('PRIVATE KEY') ? 'is damaged' : `holds a ${found.toLowerCase()}, not a private key`}`,
    );
  }
}

function checkTimes(certificate: X509Certificate, file: string, log: AuthLog): void {
  const from = Date.parse(certificate.validFrom);
  const to = Date.parse(certificate.validTo);
  const now = Date.now();
  if (to < now) {
    throw fail(
      'invalid',
      'host',
      `${file} expired at ${new Date(to).toISOString()} (${oneLine(certificate.subject)})`,
      {
        hint: 'Renew it.',
      },
    );
  }
  if (from > now) {
    throw fail('invalid', 'host', `${file} is not valid before ${new Date(from).toISOString()}`, {
      hint: 'Check this machine’s clock.',
    });
  }
  if (to - now < soonMs) log('warn', `${file} expires at ${new Date(to).toISOString()}`);
}

function oneLine(subject: string): string {
  return subject.replaceAll('\n', ', ');
}
