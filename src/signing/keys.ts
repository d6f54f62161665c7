/**
 * Keys that sign and verify: PKCS#8, SEC 1 and PKCS#1 in PEM, and cosign's own encrypted form, which is JSON in PEM:
 * scrypt makes a key of the password, and NaCl's secretbox holds a PKCS#8 key.
 * https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  scrypt,
  sign,
  verify,
} from 'node:crypto';
import { fail } from '../errors/index.ts';

/** A private key, and what others know it by. */
export interface SigningKey {
  /** The public key as PEM. */
  readonly publicPem: string;
  /** The base64 SHA-256 of the public key, as cosign names keys in bundles. */
  readonly hint: string;
  readonly publicDer: Buffer;
  /** The name of its kind in sigstore's list of algorithms. */
  readonly keyDetails: string;
  /** Signs bytes as verifiers expect it of this kind of key: ECDSA in DER, RSA by PKCS#1 v1.5. */
  sign(data: Buffer): Buffer;
}

/** The fewest bits of an RSA key. */
const shortestRsa = 2048;
/** The most memory that scrypt may take, in bytes; cosign's own parameters take 64 MiB. */
const maxScrypt = 256 << 20;
/** The largest key file, in characters. */
const maxKey = 64 << 10;

/** The elliptic curves, with the hash that goes with each. */
const curves: Record<string, { name: string; hash: string }> = {
  prime256v1: { name: 'P256', hash: 'sha256' },
  secp384r1: { name: 'P384', hash: 'sha384' },
  secp521r1: { name: 'P521', hash: 'sha512' },
};

/**
 * Reads a private key. `password` is asked for when the key is encrypted. Throws `invalid` for a text that is no key
 * and for a wrong password, `unsupported` for kinds of keys that signatures of images do not have. `name` is the key's
 * in errors.
 */
export async function readPrivateKey(
  text: string,
  name: string,
  password: () => Promise<Buffer>,
): Promise<SigningKey> {
  if (text.length > maxKey) throw notKey(name, `it has more than ${maxKey} characters`);
  const label = /^-----BEGIN ([A-Z0-9 ]+)-----/m.exec(text)?.[1];
  if (label === undefined) throw notKey(name, 'it is no PEM');
  if (label.endsWith('PUBLIC KEY')) throw notKey(name, 'it is a public key, and its private one is wanted');
  let key: KeyObject;
  if (/^ENCRYPTED (SIGSTORE|COSIGN) PRIVATE KEY$/.test(label))
    key = await openBox(text, name, await password());
  else {
    const isLocked = label === 'ENCRYPTED PRIVATE KEY' || /^Proc-Type: 4,ENCRYPTED/m.test(text);
    try {
      key = createPrivateKey({ key: text, format: 'pem', ...(isLocked && { passphrase: await password() }) });
    } catch (cause) {
      throw notKey(name, isLocked ? 'its password is another one, or it is damaged' : 'it is damaged', cause);
    }
  }
  checkKind(createPublicKey(key), name);
  return signingKey(key);
}

/** A private key as one that signs. */
export function signingKey(key: KeyObject): SigningKey {
  const publicKey = createPublicKey(key);
  return {
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    publicDer: publicKey.export({ type: 'spki', format: 'der' }),
    hint: hintOf(publicKey),
    keyDetails: detailsOf(publicKey),
    sign: (data) => sign(hashOf(publicKey), data, key),
  };
}

/** Reads public keys, one PEM after the other. Throws as `readPrivateKey` does, also when there is none. */
export function readPublicKeys(text: string, name: string): KeyObject[] {
  const blocks =
    text.length > maxKey
      ? []
      : (text.match(/-----BEGIN [A-Z ]*PUBLIC KEY-----[^-]+-----END [A-Z ]*PUBLIC KEY-----/g) ?? []);
  if (blocks.length === 0) {
    const isPrivate = text.includes('PRIVATE KEY-----');
    throw notKey(
      name,
      isPrivate ? 'it is a private key, and its public one is wanted' : 'it has no PUBLIC KEY in PEM',
    );
  }
  return blocks.map((block) => {
    let key: KeyObject;
    try {
      key = createPublicKey(block);
    } catch (cause) {
      throw notKey(name, 'it is damaged', cause);
    }
    checkKind(key, name);
    return key;
  });
}

/** The base64 SHA-256 of a public key's DER. */
export function hintOf(key: KeyObject): string {
  return createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('base64');
}

/** Whether a key has made the signature of bytes: with SHA-256, as cosign has it, or with the hash of its curve. */
export function verifies(key: KeyObject, data: Buffer, signature: Buffer): boolean {
  const own = curves[key.asymmetricKeyDetails?.namedCurve ?? '']?.hash;
  return [...new Set([hashOf(key), ...(own === undefined ? [] : [own])])].some((hash) => {
    try {
      return verify(hash, data, key, signature);
    } catch {
      return false;
    }
  });
}

/** The hash of our signatures: cosign verifies none but SHA-256 by a key; Ed25519 has its own. */
function hashOf(key: KeyObject): string | null {
  return key.asymmetricKeyType === 'ed25519' ? null : 'sha256';
}

/** https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_common.proto */
function detailsOf({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): string {
  if (type === 'ed25519') return 'PKIX_ED25519';
  if (type === 'rsa') return `PKIX_RSA_PKCS1V15_${details?.modulusLength}_SHA256`;
  const curve = curves[details?.namedCurve ?? '']?.name ?? 'P256';
  return `PKIX_ECDSA_${curve}_SHA_256`;
}

function checkKind(key: KeyObject, name: string): void {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === 'ed25519' || (type === 'ec' && curves[details?.namedCurve ?? ''] !== undefined)) return;
  const bits = details?.modulusLength ?? 0;
  if (type === 'rsa' && bits >= shortestRsa) return;
  const what = type === 'rsa' ? `RSA of ${bits} bits` : (details?.namedCurve ?? type ?? 'of an unknown kind');
  throw fail('unsupported', 'client', `the key ${name} is ${what}, which signs no images`, {
    hint: `Take ECDSA (P-256, P-384, P-521), Ed25519, or RSA of ${shortestRsa} bits or more.`,
  });
}

async function openBox(text: string, name: string, password: Buffer): Promise<KeyObject> {
  const body = /-----BEGIN [^-]+-----([^-]+)-----END/.exec(text)?.[1] ?? '';
  let box: ReturnType<typeof boxOf>;
  try {
    box = boxOf(JSON.parse(Buffer.from(body, 'base64').toString('utf8')));
  } catch (cause) {
    throw notKey(name, 'it is damaged', cause);
  }
  const { N, r, p } = box.params;
  if (![N, r, p].every((n) => Number.isSafeInteger(n) && n > 0) || 128 * N * r * p > maxScrypt) {
    throw notKey(name, `its scrypt parameters are none, or take more than ${maxScrypt >> 20} MiB`);
  }
  const secret = await new Promise<Buffer>((resolve, reject) => {
    const options = { N, r, p, maxmem: maxScrypt * 2 };
    scrypt(password, box.salt, 32, options, (err, made) => (err === null ? resolve(made) : reject(err)));
  }).catch((cause) => {
    throw notKey(name, 'its scrypt parameters are none', cause);
  });
  const { default: nacl } = await import('tweetnacl');
  const opened = box.nonce.length === 24 ? nacl.secretbox.open(box.sealed, box.nonce, secret) : null;
  if (opened === null) {
    throw notKey(
      name,
      'its password is another one, or it is damaged',
      undefined,
      'The password comes from COSIGN_PASSWORD.',
    );
  }
  try {
    return createPrivateKey({ key: Buffer.from(opened), format: 'der', type: 'pkcs8' });
  } catch (cause) {
    throw notKey(name, 'what is sealed in it is no PKCS#8 key', cause);
  }
}

function boxOf(value: {
  kdf: { name: string; params: { N: number; r: number; p: number }; salt: string };
  cipher: { name: string; nonce: string };
  ciphertext: string;
}) {
  if (value.kdf.name !== 'scrypt' || value.cipher.name !== 'nacl/secretbox')
    throw new Error('unknown encryption');
  const bytes = (base64: string) => new Uint8Array(Buffer.from(base64, 'base64'));
  return {
    params: value.kdf.params,
    salt: bytes(value.kdf.salt),
    nonce: bytes(value.cipher.nonce),
    sealed: bytes(value.ciphertext),
  };
}

function notKey(name: string, why: string, cause?: unknown, hint?: string) {
  return fail('invalid', 'client', `the key ${name} cannot be read: ${why}`, { cause, hint });
}
