/** The session of a client in our own process: its folders, streams, secrets, agents and credentials. */
import { randomUUID } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { errnoCode, fail } from '../errors/index.ts';
import type { CredentialSource } from '../oci/index.ts';
import { folderContent } from './folder-content.ts';
import { maxSecretSize } from './secret-size.ts';
import { SshAgents, type SshSource } from './ssh-agent.ts';
import type { Session } from './types.ts';

/** A secret's ID, and the file or environment variable that holds its value. */
export type SecretSource = { id: string } & (
  | { file: string }
  | { env: string }
  /** Gets the value when it is asked for. */
  | { value(): Promise<Buffer> }
);

/** The things that a client in this process offers to its build. */
export interface InProcessOptions {
  /** The session's local name → a folder. */
  locals: Record<string, string>;
  uploads?: Record<string, Readable>;
  /** A store's ID (`local:FOLDER` for a cache) → the folder that holds an OCI layout, or is to hold one. */
  stores?: Record<string, string>;
  secrets?: SecretSource[];
  ssh?: SshSource[];
  credentials?: CredentialSource;
  /** The folder for the sockets of helper processes; it is swept when this process dies. Default: the system's. */
  runDir?: string;
}

interface InProcessSession extends Session {
  /** Ends the helper processes (an agent that was started for a key file). */
  close(): Promise<void>;
}

/** Makes the session. It looks at folders, secret files and agents when the build asks for them. */
export function inProcessSession(options: InProcessOptions): InProcessSession {
  const uploads = new Map(Object.entries(options.uploads ?? {}));
  const secrets = new Map((options.secrets ?? []).map((source) => [source.id, source]));
  const stores = new Map(Object.entries(options.stores ?? {}));
  const agents = new SshAgents(options.ssh ?? [], options.runDir);
  return {
    id: randomUUID(),
    async local(name, sessionId) {
      if (sessionId !== undefined && sessionId !== this.id) {
        throw fail(
          'unavailable',
          'session',
          `the folder ${name} is of session ${sessionId}, which is not connected`,
        );
      }
      const dir = options.locals[name];
      return dir === undefined ? undefined : { kind: 'folder', dir };
    },
    async upload(id) {
      const stream = uploads.get(id);
      uploads.delete(id);
      return stream;
    },
    async secret(id) {
      const source = secrets.get(id);
      return source && readSecret(source);
    },
    ssh: (id) => agents.connector(id),
    ...(stores.size > 0 && {
      async content(id: string) {
        const dir = stores.get(id);
        return dir === undefined ? undefined : folderContent(dir);
      },
    }),
    async credentials(host) {
      return options.credentials?.(host);
    },
    close: () => agents.close(),
  };
}

async function readSecret(source: SecretSource): Promise<Buffer | undefined> {
  if ('value' in source) return source.value();
  if ('env' in source) {
    const value = process.env[source.env];
    return value === undefined ? undefined : Buffer.from(value);
  }
  try {
    const { size } = await stat(source.file);
    if (size > maxSecretSize) {
      throw fail('invalid', 'client', `secret ${source.id} is ${size} bytes, more than ${maxSecretSize}`);
    }
    return await readFile(source.file);
  } catch (err) {
    if (errnoCode(err) === undefined) throw err;
    throw fail('not-found', 'client', `secret ${source.id} cannot be read from ${source.file}`, {
      cause: err,
      hint: 'Check the path given with --secret id=…,src=….',
    });
  }
}
