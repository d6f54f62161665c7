/** Builds that share a vertex: whichever client has what it needs is asked for it. */
import { expect, test } from 'vitest';
import { canceled, fail } from '../../src/errors/error.ts';
import type { Session } from '../../src/session/types.ts';
import { sessionGroup } from '../../src/solver/session-group.ts';

const nothing = async () => undefined;
const session = (parts: Partial<Session>): Session => ({
  ...{ id: 'x', local: nothing, upload: nothing, secret: nothing, ssh: nothing, credentials: nothing },
  ...parts,
});
const gone = fail('unavailable', 'session', 'its session is gone');
const dead = session({
  secret: async () => {
    throw gone;
  },
  credentials: async () => ({ absent: 'its session is gone' }),
});

test('the first client that has it is asked; those after it are not', async () => {
  const asked: string[] = [];
  const of = (name: string, value?: string) =>
    session({
      async secret() {
        asked.push(name);
        return value === undefined ? undefined : Buffer.from(value);
      },
    });
  const group = sessionGroup(() => [of('a'), of('b', 'from b'), of('c', 'from c')]);
  expect(String(await group.secret('x'))).toBe('from b');
  expect(asked).toEqual(['a', 'b']);
  expect(await group.ssh('default')).toBeUndefined();
});

test('a client that is gone is passed over, and told of when no other has it', async () => {
  const alive = session({
    secret: async () => Buffer.from('s'),
    credentials: async () => ({ username: 'me', password: 'pw' }),
  });
  const both = sessionGroup(() => [dead, alive]);
  expect(String(await both.secret('x'))).toBe('s');
  expect(await both.credentials('reg')).toEqual({ username: 'me', password: 'pw' });
  const only = sessionGroup(() => [dead, session({})]);
  await expect(only.secret('x')).rejects.toBe(gone);
  expect(await only.credentials('reg')).toEqual({ absent: 'its session is gone' });
});

test('what is given up asks nobody else', async () => {
  const stopped = session({
    secret: async () => {
      throw canceled();
    },
  });
  const never = session({
    secret: async () => {
      throw new Error('asked');
    },
  });
  await expect(sessionGroup(() => [stopped, never]).secret('x')).rejects.toMatchObject({ code: 'canceled' });
});

test('a client that does not answer holds nobody up who gave up', async () => {
  const stop = new AbortController();
  const silent = session({ secret: () => new Promise(() => {}) });
  const asking = sessionGroup(() => [silent], {}, stop.signal).secret('x');
  stop.abort();
  await expect(asking).rejects.toMatchObject({ code: 'canceled' });
});
