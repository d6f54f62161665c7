/** Folders that are asked for ahead: a client lists them while its build is still being planned. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { SessionManager } from '../../src/session/manager.ts';
import { namedSession } from '../../src/session/named-session.ts';
import type { ClientSession } from '../../src/session/types.ts';
import { join } from '../kit/session/duplex-pair.ts';
import { SessionClient } from '../kit/session/session-client.ts';

let dir: string;
let manager: SessionManager;
const open: SessionClient[] = [];
beforeEach(() => {
  dir = mkdtempSync(joinPath(tmpdir(), 'drydock-ahead-'));
  for (const name of ['app', 'other', 'dest']) mkdirSync(joinPath(dir, name));
  writeFileSync(joinPath(dir, 'app/file'), 'app');
  writeFileSync(joinPath(dir, 'other/file'), 'other');
  manager = new SessionManager();
});
afterEach(() => {
  for (const client of open.splice(0)) client.close();
  manager.close();
  rmSync(dir, { recursive: true, force: true });
});

const connect = (sharedKey = 'home') => {
  const client = new SessionClient({
    sharedKey,
    dirs: { app: joinPath(dir, 'app'), other: joinPath(dir, 'other') },
  });
  open.push(client);
  return { client, session: join(manager, client) };
};
const sync = async (session: ClientSession, name: string, followPaths?: string[]) => {
  const found = await session.local(name);
  if (found?.kind !== 'sync') throw new Error('it serves no files');
  const dest = joinPath(dir, 'dest');
  await found.sync(dest, { followPaths }, () => {}, new AbortController().signal);
  return readdirSync(dest).map((file) => readFileSync(joinPath(dest, file), 'utf8'));
};
const lists = (client: SessionClient) =>
  client.calls.filter(({ method }) => method.endsWith('DiffCopy')).length;

/**
 * A build of this kind that asks for these folders. `ahead` is how often the client is asked before. Gives how often it
 * was asked in all.
 */
const build = async (purpose: string, ahead: number, names: readonly string[], sharedKey?: string) => {
  const { client, session } = connect(sharedKey);
  const over = session.expect?.(purpose);
  if (ahead === 0) await new Promise((resolve) => setTimeout(resolve, 30));
  await vi.waitFor(() => expect(lists(client)).toBe(ahead));
  for (const name of names) expect(await sync(session, name)).toEqual([name]);
  over?.();
  return lists(client);
};

test('a client is asked at once for the folders that the last build of the kind has needed, and once only', async () => {
  expect(await build('app', 0, ['app', 'other'])).toBe(2);
  expect(await build('app', 2, ['app', 'other'])).toBe(2);
  // Neither another kind of build nor another client's folder is the same.
  expect(await build('tests', 0, ['app'])).toBe(1);
  expect(await build('app', 0, ['app'], 'elsewhere')).toBe(1);
});

test('the build gets what the client has at that time, changed files too', async () => {
  await build('app', 0, ['app']);
  writeFileSync(joinPath(dir, 'app/file'), 'changed');
  const { client, session } = connect();
  const over = session.expect?.('app');
  await vi.waitFor(() => expect(lists(client)).toBe(1));
  expect(await sync(session, 'app')).toEqual(['changed']);
  over?.();
  expect(lists(client)).toBe(1);
});

test('what a build does not ask for after all is canceled in its end, and not asked for ahead soon again', async () => {
  await build('app', 0, ['app', 'other']);
  expect(await build('app', 2, ['app'])).toBe(2);
  expect(await build('app', 1, ['app', 'other'])).toBe(2);
  expect(await build('app', 1, ['app', 'other'])).toBe(2);
  expect(await build('app', 2, ['app', 'other'])).toBe(2);
});

test('of one folder, what is wanted otherwise is asked for anew', async () => {
  await build('app', 0, ['app']);
  const { client, session } = connect();
  const over = session.expect?.('app');
  await vi.waitFor(() => expect(lists(client)).toBe(1));
  expect(await sync(session, 'app', ['nothing'])).toEqual([]);
  over?.();
  expect(lists(client)).toBe(2);
});

test('a folder that could not be listed ahead is asked for again', async () => {
  await build('app', 0, ['app']);
  rmSync(joinPath(dir, 'app'), { recursive: true });
  const { client, session } = connect();
  const over = session.expect?.('app');
  await vi.waitFor(() => expect(lists(client)).toBe(1));
  await new Promise((resolve) => setTimeout(resolve, 50));
  mkdirSync(joinPath(dir, 'app'));
  writeFileSync(joinPath(dir, 'app/file'), 'here again');
  expect(await sync(session, 'app')).toEqual(['here again']);
  over?.();
  expect(lists(client)).toBe(2);
});

test('a session that a build only names is expected when it is there', async () => {
  await build('app', 0, ['app']);
  const client = new SessionClient({ sharedKey: 'home', dirs: { app: joinPath(dir, 'app') } });
  open.push(client);
  const named = namedSession(manager, client.id);
  const over = named.expect?.('app');
  join(manager, client);
  await vi.waitFor(() => expect(lists(client)).toBe(1));
  over?.();
  // One that never comes is nothing to wait for.
  namedSession(manager, 'none', { waitMs: 10 }).expect?.('app')?.();
});
