/** Guesses at names and passwords: what they cost tells nothing of the names that there are. */
import { expect, test } from 'vitest';
import type { TokenEntry } from '../../src/auth/policy.ts';
import { createToken, hashPassword, parseTokenHash } from '../../src/auth/token-hash.ts';
import { createTokens } from '../../src/auth/tokens.ts';

const entry = (name: string, hash: string): TokenEntry => ({ name, hash: parseTokenHash(hash)! });
const made = createToken();

/** How many of 20 guesses that come at once are put off: passwords are hashed a few at a time. */
async function putOff(tokens: ReturnType<typeof createTokens>, name: string): Promise<number> {
  const guesses = Array.from({ length: 20 }, (_, i) => tokens.basic(name, `guess ${i}`));
  const ends = await Promise.allSettled(guesses);
  const codes = ends.map((end) => (end.status === 'rejected' ? end.reason.code : 'let in'));
  expect(codes.filter((code) => code !== 'unauthenticated' && code !== 'unavailable')).toEqual([]);
  return codes.filter((code) => code === 'unavailable').length;
}

test('a wrong guess is hashed slowly, whether the name has a password, a token, or is nobody', async () => {
  const chosen = entry('alice', await hashPassword('correct horse'));
  const tokens = createTokens([entry('ci', made.hash), chosen]);
  const off = [];
  for (const name of ['alice', 'ci', 'nobody', '']) off.push(await putOff(tokens, name));
  expect(off).toEqual([12, 12, 12, 12]);
  expect(await tokens.basic('alice', 'correct horse')).toEqual({ kind: 'token', name: 'alice' });
  // The token itself costs nothing, also while others guess.
  const guessing = putOff(tokens, 'ci');
  expect(await tokens.basic('ci', made.token)).toEqual({ kind: 'token', name: 'ci' });
  await guessing;
});

test('where nobody has chosen a password, nothing is hashed slowly', async () => {
  const tokens = createTokens([entry('ci', made.hash)]);
  expect(await putOff(tokens, 'ci')).toBe(0);
  expect(await putOff(tokens, 'nobody')).toBe(0);
});
