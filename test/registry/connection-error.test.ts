/** What is said when a registry cannot be reached: in the words that docker's users look for. */
import { expect, test } from 'vitest';
import { connectionError } from '../../src/registry/errors.ts';

test.each([
  ['ENOTFOUND', 'no such host', /spelling of the registry/],
  ['ECONNREFUSED', 'connection refused', /is listening at reg\.example/],
])('%s: %s', (code, words, hint) => {
  const purpose = { doing: 'pulling', host: 'reg.example', repository: 'reg.example/app' };
  const cause = Object.assign(new Error(`getaddrinfo ${code} reg.example`), { code });
  expect(connectionError(purpose, cause)).toMatchObject({
    code: 'unavailable',
    hop: 'registry',
    message: `pulling: cannot reach the registry reg.example for reg.example/app: ${words}`,
    hint: expect.stringMatching(hint),
    details: { errno: code },
  });
});
