/** Checks static tokens and passwords against a policy's entries. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { fail } from '../errors/index.ts';
import { printable } from './identity.ts';
import type { TokenEntry } from './policy.ts';
import { sha256, verifies } from './token-hash.ts';
import type { TokenIdentity } from './types.ts';

/** How many passwords are hashed at one time. With more, guesses would starve builds of Node's few threads. */
const maxHashing = 8;
const maxRemembered = 256;

export interface Tokens {
  /** The identity of a bearer token. Throws `unauthenticated`. */
  bearer(token: string): TokenIdentity;
  /** The identity of a name with its token or password. Throws `unauthenticated`, or `unavailable` under a flood of guesses. */
  basic(name: string, secret: string): Promise<TokenIdentity>;
}

/** Makes the checks of a policy's tokens. `now` gives the time, in ms since the epoch. */
export function createTokens(entries: readonly TokenEntry[], now: () => number = Date.now): Tokens {
  const made = entries.flatMap((entry) =>
    entry.hash.kind === 'sha256' ? [{ entry, digest: entry.hash.digest }] : [],
  );
  const chosen = entries.filter(({ hash }) => hash.kind === 'scrypt');
  /**
   * Passwords that were right, so that scrypt does not run for each request. They are stored under a secret key, so
   * that the entries tell nothing.
   */
  const remembered = new Set<string>();
  const key = randomBytes(32);
  let hashing = 0;

  async function check(secret: string, entry: TokenEntry): Promise<boolean> {
    if (entry.hash.kind === 'sha256') {
      const right = await verifies(secret, entry.hash);
      if (!right) await pretend(entry.name, secret);
      return right;
    }
    const memory = createHmac('sha256', key).update(`${entry.name}\0${secret}`).digest('base64');
    if (remembered.has(memory)) return true;
    if (!(await slowly(secret, entry))) return false;
    if (remembered.size >= maxRemembered) remembered.clear();
    remembered.add(memory);
    return true;
  }

  /**
   * Takes as long as a wrong chosen password does, so that names cannot be found by trying. The hashes of a policy may
   * cost more or less: each name has one of them for good.
   */
  async function pretend(name: string, secret: string): Promise<void> {
    const number = createHmac('sha256', key).update(name).digest().readUInt32BE();
    const entry = chosen[number % chosen.length];
    if (entry !== undefined) await slowly(secret, entry);
  }

  async function slowly(secret: string, { hash }: TokenEntry): Promise<boolean> {
    if (hashing >= maxHashing) {
      throw fail('unavailable', 'host', 'too many passwords are being checked at once', {
        hint: 'Try again in a moment.',
      });
    }
    hashing++;
    try {
      return await verifies(secret, hash);
    } finally {
      hashing--;
    }
  }

  function identity(entry: TokenEntry): TokenIdentity {
    if (entry.expires !== undefined && entry.expires <= now()) {
      throw fail(
        'unauthenticated',
        'client',
        `the token ${entry.name} expired at ${new Date(entry.expires).toISOString()}`,
        {
          hint: `Make a new one with \`drydock token create ${entry.name}\` and put its line into the policy file.`,
        },
      );
    }
    return { kind: 'token', name: entry.name };
  }

  return {
    bearer(token) {
      const digest = sha256(token);
      let found: TokenEntry | undefined;
      // All are compared, so that the time taken does not tell which one is near.
      for (const each of made) if (timingSafeEqual(digest, each.digest)) found = each.entry;
      if (found === undefined) {
        throw fail('unauthenticated', 'client', 'the bearer token is not one this daemon knows', {
          hint: 'Make one with `drydock token create NAME` and put the line it prints into the policy file.',
        });
      }
      return identity(found);
    },
    async basic(name, secret) {
      const entry = entries.find((each) => each.name === name);
      if (entry === undefined) await pretend(name, secret);
      if (entry === undefined || !(await check(secret, entry))) {
        throw fail(
          'unauthenticated',
          'client',
          `wrong name or secret for ${printable(name) || 'an empty name'}`,
          {
            hint: 'The user is the name of the token in the policy file, the password is the token.',
          },
        );
      }
      return identity(entry);
    },
  };
}
