import { DrydockError } from '../errors/index.ts';
import { orAbort } from '../flow/index.ts';
import type { RegistryCredentials } from '../oci/index.ts';
import type { Session } from '../session/index.ts';
import type { Apart } from './keys.ts';

/**
 * One session made of those of all builds that share a vertex: each is asked in turn until one has the thing. One that
 * cannot answer (its client is gone) is passed over; what it failed with is thrown when no other has the thing. When
 * `signal` fires, nobody waits any longer for a client that does not answer. They are all of one tenant, and
 * all offline or none.
 */
export function sessionGroup(
  members: () => readonly Session[],
  { tenant, offline }: Apart = {},
  signal?: AbortSignal,
): Session {
  async function first<T>(
    ask: (session: Session) => Promise<T | undefined>,
    isAnswer: (answer: T) => boolean = () => true,
  ): Promise<T | undefined> {
    let second: T | undefined;
    let failure: unknown;
    for (const session of members()) {
      try {
        const answer = await orAbort(ask(session), signal);
        if (answer === undefined) continue;
        if (isAnswer(answer)) return answer;
        second ??= answer;
      } catch (err) {
        if (!(err instanceof DrydockError) || err.code === 'canceled') throw err;
        failure ??= err;
      }
    }
    if (failure !== undefined) throw failure;
    return second;
  }
  const isThere = (credentials: RegistryCredentials) => credentials.absent === undefined;
  return {
    get id() {
      return members()[0]?.id ?? '';
    },
    tenant,
    offline,
    local: (name, sessionId) => first((session) => session.local(name, sessionId)),
    upload: (id) => first((session) => session.upload(id)),
    secret: (id) => first((session) => session.secret(id)),
    ssh: (id) => first((session) => session.ssh(id)),
    content: (id) => first(async (session) => session.content?.(id)),
    credentials: (host) => first((session) => session.credentials(host), isThere),
  };
}
