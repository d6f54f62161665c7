/** What a build may ask of its client. In process these are folders and files; over an API they are gRPC calls back. */
import type { Duplex, Readable } from 'node:stream';
import type { RegistryCredentials } from '../oci/credentials.ts';
import type { ReportStatus } from '../store/ref.ts';

/** How a client's folder reaches us. */
export type LocalProvider =
  | { kind: 'folder' /** Absolute path on this host. */; dir: string }
  | {
      kind: 'sync';
      /** Identity of the client's folder for incremental transfers. */
      sharedKey: string;
      /** Brings the selected files into `dest`, which may hold an earlier state. */
      sync(
        dest: string,
        select: { includes?: string[]; excludes?: string[]; followPaths?: string[] },
        report: ReportStatus,
        signal: AbortSignal,
      ): Promise<void>;
    };

export interface Session {
  readonly id: string;
  /** The client's folder of this name (`context`, `dockerfile`, a named context), or undefined when it offers none. */
  local(name: string): Promise<LocalProvider | undefined>;
  /** A posted tar or other stream by its id; may be read once. */
  upload(id: string): Promise<Readable | undefined>;
  secret(id: string): Promise<Buffer | undefined>;
  /** A connection to the client's ssh agent of this id. */
  ssh(id: string): Promise<(() => Promise<Duplex>) | undefined>;
  /** Credentials for a registry host (`registry-1.docker.io`'s are asked for as `https://index.docker.io/v1/`). */
  credentials(host: string): Promise<RegistryCredentials | undefined>;
}
