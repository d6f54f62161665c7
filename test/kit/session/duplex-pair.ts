import { duplexPair } from 'node:stream';
import type { SessionManager } from '../../../src/session/manager.ts';
import type { ClientSession } from '../../../src/session/types.ts';
import type { SessionClient } from './session-client.ts';

/** Joins a client to a manager by a pair of streams, as `Control/Session` does. */
export function join(manager: SessionManager, client: SessionClient): ClientSession {
  const [ours, theirs] = duplexPair();
  const session = manager.accept(ours, client.headers);
  client.serve(theirs);
  return session;
}
