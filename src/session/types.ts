/**
 * What a build may ask of its client. In process these are folders and files (`inProcessSession`); over an API they are
 * gRPC calls back on a connection that the client has opened (`SessionManager`, `namedSession`).
 */
import type { Duplex, Readable, Writable } from 'node:stream';
import type { ViewSpec } from '../fs/index.ts';
import type { Digest, RegistryCredentials } from '../oci/index.ts';
import type { CheckPolicyResponse } from '../pb/session/policy_pb.js';
import type { ReportStatus } from '../progress/index.ts';
import type { ChosenExporter } from './services/exporter.ts';
import type { PolicyQuestion } from './services/policy.ts';

export type { PolicyQuestion };

/** How a client's folder reaches us. */
export type LocalProvider =
  | { kind: 'folder' /** Absolute path on this host. */; dir: string }
  | {
      kind: 'sync';
      /** Identity of the client's folder for incremental transfers. */
      sharedKey: string;
      /**
       * Brings the selected files into `dest`, which may hold an earlier state that is of no use when `afresh`. With
       * `listing`, a file beside `dest` that belongs to it, nothing is looked at when nothing has changed; the stamp
       * that is given then, or undefined, stands for what `dest` holds until it holds something else.
       */
      sync(
        dest: string,
        select: {
          includes?: string[];
          excludes?: string[];
          followPaths?: string[];
          afresh?: boolean;
          /**
           * Only the descriptions of what is selected, in the file `.fsutil-metadata`, and what is at paths that match
           * these patterns.
           */
          metadataOnly?: string[];
          listing?: string;
        },
        report: ReportStatus,
        signal: AbortSignal,
      ): Promise<string | undefined>;
    };

/**
 * Whose a build is, where builds of several are kept apart. What two tenants share is the store and the build cache:
 * nothing that runs, and nothing that is kept for the next build of one of them.
 */
export interface Tenant {
  /** Tells a tenant from all others. */
  readonly id: string;
  /** Cache mounts are an exception. */
  readonly sharesCacheMounts: boolean;
}

export interface Session {
  readonly id: string;
  /** Whose the build is; undefined where builds are not kept apart. */
  readonly tenant?: Tenant;
  /**
   * The client's folder of this name (`context`, `dockerfile`, a named context), or undefined when it offers none.
   * `sessionId`: the session that offers it, where that is another one of the same owner's.
   */
  local(name: string, sessionId?: string): Promise<LocalProvider | undefined>;
  /** A posted tar or other stream by its id; may be read once. */
  upload(id: string): Promise<Readable | undefined>;
  secret(id: string): Promise<Buffer | undefined>;
  /**
   * What dials the client's ssh agent of this id; undefined when it forwards none. Throws `not-found` with the client's
   * own words when it forwards agents, but not this one.
   */
  ssh(id: string): Promise<(() => Promise<Duplex>) | undefined>;
  /** The client's store of blobs of this ID, such as an OCI layout; undefined when it offers no stores. */
  content?(id: string): Promise<ClientContent | undefined>;
  /** Credentials for a registry host (`registry-1.docker.io`'s are asked for as `https://index.docker.io/v1/`). */
  credentials(host: string): Promise<RegistryCredentials | undefined>;
}

/** A client's store of blobs. All throw `unavailable` (hop `session`) when the client is gone. */
export interface ClientContent {
  /** Bytes of a blob; undefined when it is not there. */
  size(digest: Digest): Promise<number | undefined>;
  /** A blob's bytes, from an offset. The stream fails with `not-found`; the digest is the reader's to check. */
  read(digest: Digest, options?: { offset?: number; signal?: AbortSignal }): Promise<Readable>;
  /** Stores a blob, which the client checks; one that is there already is fine. */
  write(
    blob: { digest: Digest; size: number },
    bytes: AsyncIterable<Uint8Array>,
    options?: { signal?: AbortSignal },
  ): Promise<void>;
}

/** A session of a client that has connected to an API. Several builds may use one, and it may end before they do. */
export interface ClientSession extends Session {
  /** Fires when the client's connection is over; the reason is an Error that says why. */
  readonly closed: AbortSignal;
  /** What the client's own policy says of a source. Throws `unsupported` (hop `session`) when it has none. */
  checkPolicy(question: PolicyQuestion): Promise<CheckPolicyResponse>;
  /**
   * Which exporters the client wants for a result that it may look at: its metadata, and ids of its refs for the build's
   * gateway. None when it does not choose any.
   */
  findExporters(metadata: Record<string, Uint8Array>, refs: string[]): Promise<ChosenExporter[]>;
  /** Tells the client that everything is exported; an error of its own is thrown. */
  finalizeExport(response: Record<string, string>): Promise<void>;
  /**
   * Where a build's files and archives go at the client. `exporter`: which of its outputs, by its place among them
   * (clients before BuildKit 0.13 have one and take no number). Whether the client takes any turns out when it is used.
   */
  output(exporter?: number | string): ClientOutput;
}

/** Takes what an exporter makes to the client. Fits exporter's `OutputSink`. */
export interface ClientOutput {
  /**
   * Opens the client's file, for an archive. The stream's end waits until the client has it whole; it fails with
   * `unavailable` or `unsupported` (hop `session`). `metadata` is the exporter's response so far
   * (`containerimage.digest` …), which clients may name the file by.
   */
  tar(metadata?: Readonly<Record<string, string>>): Promise<Writable>;
  /** Sends trees into the client's folder, on top of what is there. Resolves once the client has all of it. */
  send(trees: readonly OutputTree[], options: SendOptions): Promise<{ entries: number; bytes: number }>;
  /** The client's store for the blobs of an image that it writes as an OCI layout itself. Throws `unsupported`. */
  content(): Promise<ClientContent>;
}

export interface OutputTree {
  spec: ViewSpec;
  /** Name of the folder to put it in; '' or undefined: at the top. */
  prefix?: string;
}

interface SendOptions {
  /** Times of all that is sent, ns since the epoch; undefined: the files' own. */
  timestampNs?: bigint;
  /** Told the bytes sent so far. */
  onBytes?: (bytes: number) => void;
  signal: AbortSignal;
}
