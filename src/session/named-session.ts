/** The session that a request names. It may be there, still to come, or gone; it is looked up when it is needed. */
import { fail } from '../errors/index.ts';
import type { RegistryCredentials } from '../oci/index.ts';
import { lostHint } from './peer.ts';
import type { ClientSession, Tenant } from './types.ts';

/** The part of a `SessionManager` that `namedSession` needs. */
interface SessionFinder {
  find(id: string, waitMs: number, signal?: AbortSignal, owner?: string): Promise<ClientSession | undefined>;
}

/**
 * Stands for the session with an ID, which matters only if something is asked of it. The session is then waited for up
 * to `waitMs`, once. When it is not there, folders, uploads, secrets, agents and outputs throw `unavailable` (hop
 * `session`) with what was asked for. Credentials are then missing, and the error of a registry that wants some tells
 * of the session. A session that somebody else than `owner` has opened counts as not there. `closed` fires when the
 * session that was found is over; it never fires for one that was not found.
 */
export function namedSession(
  sessions: SessionFinder,
  id: string,
  options: {
    waitMs?: number;
    signal?: AbortSignal;
    /** The one who names it (`identityKey`). */
    owner?: string;
    tenant?: Tenant;
  } = {},
): ClientSession {
  const closed = new AbortController();
  let looked: Promise<ClientSession | undefined> | undefined;
  const { waitMs = 5_000 } = options;
  const look = () => {
    looked ??= sessions.find(id, waitMs, options.signal, options.owner).then((session) => {
      if (session?.closed.aborted) closed.abort(session.closed.reason);
      session?.closed.addEventListener('abort', () => closed.abort(session.closed.reason), { once: true });
      return session;
    });
    return looked;
  };
  const ask = async (what: string): Promise<ClientSession> => {
    const session = await look();
    if (session !== undefined) return session;
    throw fail('unavailable', 'session', `asking the client for ${what}: ${absence(id)}`, { hint: lostHint });
  };
  return {
    id,
    owner: options.owner,
    tenant: options.tenant,
    closed: closed.signal,
    async local(name, sessionId = id) {
      const what = name === 'context' ? 'its build context' : `its folder ${name}`;
      if (sessionId === id) return (await ask(what)).local(name);
      const other = await sessions.find(sessionId, waitMs, options.signal, options.owner);
      if (other !== undefined) return other.local(name);
      throw fail('unavailable', 'session', `asking the client for ${what}: ${absence(sessionId)}`);
    },
    expect(purpose) {
      let over = false;
      let end: (() => void) | undefined;
      // Whether it is there matters only to those who ask it for something.
      void sessions.find(id, waitMs, options.signal, options.owner).then(
        (session) => {
          if (!over) end = session?.expect?.(purpose);
        },
        () => {},
      );
      return () => {
        over = true;
        end?.();
      };
    },
    upload: async (upload) => (await ask(`the upload ${upload}`)).upload(upload),
    secret: async (secret) => (await ask(`secret ${secret}`)).secret(secret),
    ssh: async (agent) => (await ask(`its ssh agent ${agent}`)).ssh(agent),
    checkPolicy: async (question) => (await ask('its policy on sources')).checkPolicy(question),
    findExporters: async (metadata, refs) =>
      (await ask('the exporters of the result')).findExporters(metadata, refs),
    finalizeExport: async (response) => (await ask('the end of its export')).finalizeExport(response),
    content: async (store) => (await ask(`its store ${store}`)).content?.(store),
    async credentials(host): Promise<RegistryCredentials | undefined> {
      const session = await look();
      if (session === undefined) return { absent: absence(id) };
      return session.credentials(host);
    },
    output: (exporter) => ({
      tar: async (metadata) => (await ask('a place for the output archive')).output(exporter).tar(metadata),
      send: async (trees, send) =>
        (await ask('a folder for the output files')).output(exporter).send(trees, send),
      content: async () => (await ask('a place for the output')).output(exporter).content(),
    }),
  };
}

function absence(id: string): string {
  return `its session ${id} is not connected (any more)`;
}
