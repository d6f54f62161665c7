/** What a build over HTTP may ask for: its uploads, the request's credentials, and the session that it names, if any. */
import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { CredentialSource } from '../../../oci/index.ts';
import type { ClientSession, Session } from '../../../session/index.ts';

interface RequestParts {
  /** Bodies by the ID that the build's context gives them; each may be read once. */
  uploads: Readonly<Record<string, Readable>>;
  /** Of `X-Registry-Config`; they come before what the session says. */
  credentials: CredentialSource | undefined;
  /** Undefined when the request names none. */
  client: ClientSession | undefined;
  tenant: Session['tenant'];
}

export function requestSession({ uploads, credentials, client, tenant }: RequestParts): Session {
  const unread = new Map(Object.entries(uploads));
  return {
    id: client?.id ?? randomUUID(),
    tenant,
    local: async (name, sessionId) => client?.local(name, sessionId),
    async upload(id) {
      const stream = unread.get(id);
      unread.delete(id);
      return stream ?? client?.upload(id);
    },
    secret: async (id) => client?.secret(id),
    ssh: async (id) => client?.ssh(id),
    content: async (store) => client?.content?.(store),
    async credentials(host) {
      return (await credentials?.(host)) ?? client?.credentials(host);
    },
  };
}
