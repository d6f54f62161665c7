import type { Session } from '../session/types.ts';

/** One session made of those of all builds that share a vertex: each is asked in turn until one has the thing. */
export function sessionGroup(members: () => readonly Session[]): Session {
  async function first<T>(ask: (session: Session) => Promise<T | undefined>): Promise<T | undefined> {
    for (const session of members()) {
      const answer = await ask(session);
      if (answer !== undefined) return answer;
    }
    return undefined;
  }
  return {
    get id() {
      return members()[0]?.id ?? '';
    },
    local: (name) => first((session) => session.local(name)),
    upload: (id) => first((session) => session.upload(id)),
    secret: (id) => first((session) => session.secret(id)),
    ssh: (id) => first((session) => session.ssh(id)),
    credentials: (host) => first((session) => session.credentials(host)),
  };
}
