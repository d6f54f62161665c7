/** The certificate authority of the proxy: it makes certificates for the servers that steps ask over TLS. */
import {
  constants,
  createPrivateKey,
  generateKeyPair,
  type KeyObject,
  privateEncrypt,
  randomBytes,
} from 'node:crypto';
import { isIP } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import { promisify } from 'node:util';
import forge from 'node-forge';

const day = 24 * 3_600_000;
/** So many servers' certificates are kept. */
const mostKept = 512;

interface Keys {
  publicKey: forge.pki.rsa.PublicKey;
  privateKey: KeyObject;
  privatePem: string;
}

/** An authority that lives as long as the process; its key is never written to a disk. */
export class Authority {
  readonly #own: Keys;
  /** One pair of keys for all servers: both ends of a connection by the proxy are on this machine. */
  readonly #servers: Keys;
  readonly #certificate: forge.pki.Certificate;
  readonly #contexts = new Map<string, { context: SecureContext; until: number }>();
  /** The authority's certificate, as PEM. */
  readonly pem: string;

  private constructor(own: Keys, servers: Keys) {
    this.#own = own;
    this.#servers = servers;
    this.#certificate = certificate('Drydock proxy of build steps', own.publicKey, 3650);
    this.#certificate.setIssuer(this.#certificate.subject.attributes);
    this.#certificate.setExtensions([
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, digitalSignature: true, critical: true },
      { name: 'subjectKeyIdentifier' },
    ]);
    sign(this.#certificate, own.privateKey);
    this.pem = forge.pki.certificateToPem(this.#certificate);
  }

  static async create(): Promise<Authority> {
    const [own, servers] = await Promise.all([newKeys(), newKeys()]);
    return new Authority(own, servers);
  }

  /** The keys and certificate with which the proxy speaks for a server (a name or an address). */
  contextFor(host: string): SecureContext {
    const known = this.#contexts.get(host);
    if (known !== undefined && known.until > Date.now()) return known.context;
    const made = certificate(host, this.#servers.publicKey, 7);
    made.setIssuer(this.#certificate.subject.attributes);
    made.setExtensions([
      { name: 'basicConstraints', cA: false },
      { name: 'keyUsage', digitalSignature: true, keyEncipherment: true },
      { name: 'extKeyUsage', serverAuth: true },
      {
        name: 'subjectAltName',
        altNames: [isIP(host) === 0 ? { type: 2, value: host } : { type: 7, ip: host }],
      },
    ]);
    sign(made, this.#own.privateKey);
    const context = createSecureContext({
      key: this.#servers.privatePem,
      cert: `${forge.pki.certificateToPem(made)}${this.pem}`,
    });
    if (this.#contexts.size >= mostKept) this.#contexts.delete([...this.#contexts.keys()][0] as string);
    this.#contexts.set(host, { context, until: Date.now() + 6 * day });
    return context;
  }
}

async function newKeys(): Promise<Keys> {
  const { publicKey, privateKey } = await promisify(generateKeyPair)('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  return {
    publicKey: forge.pki.publicKeyFromPem(publicKey),
    privateKey: createPrivateKey(privateKey),
    privatePem: privateKey,
  };
}

/** What stands before a SHA-256 digest that RSA signs (RFC 8017, section 9.2). */
const digestInfo = Buffer.from('3031300d060960864801650304020105000420', 'hex');

/** Signs a certificate by this machine's own code: a step may ask for many, and JavaScript's takes 15 ms for each. */
function sign(made: forge.pki.Certificate, key: KeyObject): void {
  const signer = {
    sign(digest: forge.md.MessageDigest): string {
      const info = Buffer.concat([digestInfo, Buffer.from(digest.digest().getBytes(), 'latin1')]);
      return privateEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, info).toString('latin1');
    },
  };
  made.sign(signer as unknown as forge.pki.rsa.PrivateKey, forge.md.sha256.create());
}

/** A certificate that is not signed yet. Its serial number is positive, as RFC 5280 wants it. */
function certificate(commonName: string, key: forge.pki.rsa.PublicKey, days: number): forge.pki.Certificate {
  const made = forge.pki.createCertificate();
  made.publicKey = key;
  made.serialNumber = `01${randomBytes(15).toString('hex')}`;
  made.validity.notBefore = new Date(Date.now() - day);
  made.validity.notAfter = new Date(Date.now() + days * day);
  // The name may be longer than the 64 characters that a common name has; the alternative name counts.
  made.setSubject([{ name: 'commonName', value: commonName.slice(0, 64) }]);
  return made;
}
