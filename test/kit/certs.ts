/** A certificate authority made with openssl, and certificates it signs. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Certs {
  /** File of the CA's certificate. */
  ca: string;
  /** Makes a certificate; gives its files. `sans`: `DNS:a,IP:127.0.0.1`. */
  issue(cn: string, sans?: string): { cert: string; key: string };
}

/** Makes a CA in a folder. Two of one folder need different names. */
export function makeCerts(dir: string, name = 'ca'): Certs {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
  const ca = join(dir, `${name}.pem`);
  const caKey = join(dir, `${name}.key`);
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...ec, '-keyout', caKey, '-out', ca, '-subj', `/CN=${name}`, '-days', '30');
  return {
    ca,
    issue(cn, sans) {
      const base = join(dir, `${name}-${cn.replace(/[^\w-]/g, '_')}`);
      const [key, csr, cert, ext] = [`${base}.key`, `${base}.csr`, `${base}.pem`, `${base}.ext`];
      openssl('req', ...ec, '-keyout', key, '-out', csr, '-subj', `/CN=${cn}`);
      writeFileSync(ext, sans === undefined ? 'extendedKeyUsage=clientAuth\n' : `subjectAltName=${sans}\n`);
      const signing = ['-CA', ca, '-CAkey', caKey, '-CAcreateserial', '-days', '30', '-extfile', ext];
      openssl('x509', '-req', '-in', csr, '-out', cert, ...signing);
      return { cert, key };
    },
  };
}
