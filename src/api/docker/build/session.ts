/**
 * The session of a build over HTTP: its uploads, the request's credentials, and the client's session if the request
 * names one.
 */
import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { CredentialSource } from '../../../oci/index.ts';
import type { ClientSession, Session } from '../../../session/index.ts';

interface RequestParts {
  /** The bodies, by the ID that the build's context gives them. Each may be read once. */
  uploads: Readonly<Record<string, Readable>>;
  /** The credentials in `X-Registry-Config`. They come before those of the client's session. */
  credentials: CredentialSource | undefined;
  /** The client's session; undefined when the request names none. */
  client: ClientSession | undefined;
  tenant: Session['tenant'];
  /** The tags that the image will have. */
  tags: readonly string[];
}

/** Makes the session. It answers from the request first, and then from the client's session. */
export function requestSession({ uploads, credentials, client, tenant, tags }: RequestParts): Session {
  const unread = new Map(Object.entries(uploads));
  return {
    id: client?.id ?? randomUUID(),
    owner: client?.owner,
    tenant,
    project: tags.join(' '),
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
