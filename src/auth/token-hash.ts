/**
 * Static tokens and passwords in the form in which the policy file holds them. A made token has 256 random bits, so one
 * SHA-256 is as good as a slow hash and costs little per request. A chosen password gets scrypt.
 */
import { createHash, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import type { TokenHash } from './policy.ts';

const scryptCost = { n: 1 << 15, r: 8, p: 1 };

/** A fresh token (43 characters of base64url behind `ddk_`) and its hash for the policy file. */
export function createToken(): { token: string; hash: string } {
  const token = `ddk_${randomBytes(32).toString('base64url')}`;
  return { token, hash: `sha256:${sha256(token).toString('hex')}` };
}

/** The hash of a chosen password for the policy file. */
export async function hashPassword(password: string): Promise<string> {
  const { n, r, p } = scryptCost;
  const salt = randomBytes(16);
  const digest = await derive(password, { kind: 'scrypt', ...scryptCost, salt, digest: Buffer.alloc(32) });
  return `scrypt:${n}:${r}:${p}:${salt.toString('base64url')}:${digest.toString('base64url')}`;
}

/**
 * Reads a hash of either kind; undefined when the text is none, or asks for more than 256 MiB or for too little work.
 */
export function parseTokenHash(text: string): TokenHash | undefined {
  const sha = /^sha256:([0-9a-f]{64})$/i.exec(text)?.[1];
  if (sha !== undefined) return { kind: 'sha256', digest: Buffer.from(sha, 'hex') };
  const match = /^scrypt:(\d{1,8}):(\d{1,2}):(\d{1,2}):([\w-]{11,86}):([\w-]{43,86})$/.exec(text);
  if (match === null) return undefined;
  const [n, r, p] = match.slice(1, 4).map(Number) as [number, number, number];
  if (n < 1 << 14 || (n & (n - 1)) !== 0 || r < 1 || p < 1 || 128 * n * r > 256 << 20) return undefined;
  const [salt, digest] = match.slice(4).map((part) => Buffer.from(part, 'base64url')) as [Buffer, Buffer];
  return { kind: 'scrypt', n, r, p, salt, digest };
}

/** SHA-256 of a token's text. */
export function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** Whether a password or token is the one that was hashed, compared in constant time. */
export async function verifies(secret: string, hash: TokenHash): Promise<boolean> {
  const digest = hash.kind === 'sha256' ? sha256(secret) : await derive(secret, hash);
  return digest.length === hash.digest.length && timingSafeEqual(digest, hash.digest);
}

function derive(password: string, hash: Extract<TokenHash, { kind: 'scrypt' }>): Promise<Buffer> {
  const { n: N, r, p, salt, digest } = hash;
  return new Promise((done, failed) => {
    scrypt(password, salt, digest.length, { N, r, p, maxmem: 128 * N * r + (4 << 20) }, (err, key) =>
      err === null ? done(key) : failed(err),
    );
  });
}
