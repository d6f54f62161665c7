/**
 * The contract of a session: the things that a build may ask of its client. In process these are folders and files
 * (`inProcessSession`); over an API they are gRPC calls back, on a connection that the client has opened
 * (`SessionManager`, `namedSession`).
 */
import type { Duplex, Readable, Writable } from 'node:stream';
import type { ViewSpec } from '../fs/index.ts';
import type { Digest, RegistryCredentials } from '../oci/index.ts';
import type { CheckPolicyResponse } from '../pb/session/policy_pb.js';
import type { ReportStatus } from '../progress/index.ts';
import type { ChosenExporter } from './services/exporter.ts';
import type { PolicyQuestion } from './services/policy.ts';

export type { PolicyQuestion };

/** A way to the files of a client's folder. */
export type LocalProvider =
  | { kind: 'folder' /** Absolute path on this host. */; dir: string }
  | {
      kind: 'sync';
      /** Identity of the client's folder, for incremental transfers. */
      sharedKey: string;
      /**
       * Brings the selected files into `dest`, which may hold an earlier state of the folder; with `afresh`, that state
       * must not be used. `listing` is a file beside `dest` that keeps the client's list of files: with it, no file is
       * looked at when nothing has changed. Returns a stamp, which stands for the content of `dest` until it is
       * changed, or undefined.
       *
       *     await sync('/sync/ab/data', { includes: ['src'], listing: '/sync/ab/listing' }, report, signal);
       */
      sync(
        dest: string,
        select: {
          includes?: string[];
          excludes?: string[];
          followPaths?: string[];
          afresh?: boolean;
          /**
           * Brings the descriptions of the selected files, in the file `.fsutil-metadata`, and the content of those
           * files alone whose paths match these patterns.
           */
          metadataOnly?: string[];
          listing?: string;
        },
        report: ReportStatus,
        signal: AbortSignal,
      ): Promise<string | undefined>;
    };

/**
 * The owner of a build, where builds of several owners are kept apart. Two tenants share the store and the build cache.
 * They share nothing that runs, and nothing that is kept for the next build of one of them.
 */
export interface Tenant {
  /** Tells a tenant from all others. */
  readonly id: string;
  /** Whether the tenant's builds use everybody's cache mounts all the same. */
  readonly sharesCacheMounts: boolean;
  /** Whether the results of the tenant's builds may go into the cache of a fleet; default: they may. */
  readonly sharesResults?: boolean;
}

/**
 * A client, as its builds see it. It is made or found before the build and may serve several builds. The build calls a
 * method when it needs something, and a client that is gone is found out only then.
 */
export interface Session {
  readonly id: string;
  /** The one whose ID this is (`identityKey`): clients make IDs up, and two owners' may be equal. Undefined: nobody knows. */
  readonly owner?: string;
  /** The owner of the build; undefined where builds are not kept apart. */
  readonly tenant?: Tenant;
  /** The build asks nobody on the network: what its sources were is taken from what is kept here. */
  readonly offline?: boolean;
  /**
   * The client's folder of this name (`context`, `dockerfile`, a named context); undefined when the client offers none.
   * `sessionId` names the session that offers it, when that is another session of the same owner.
   */
  local(name: string, sessionId?: string): Promise<LocalProvider | undefined>;
  /**
   * Says that a build of this kind begins: the client may be asked at once for the folders that the last one of the kind
   * has asked for. `purpose` describes all that its folders depend on. The returned function is called when the build is
   * over.
   */
  expect?(purpose: string): () => void;
  /**
   * What the uploads of one project have in common, such as the tags: an upload is compared with the last one that has the
   * same. Undefined: nothing is known of it.
   */
  readonly project?: string;
  /** A posted tar or other stream, by its id. It may be read once. */
  upload(id: string): Promise<Readable | undefined>;
  secret(id: string): Promise<Buffer | undefined>;
  /**
   * A function that dials the client's ssh agent of this id; undefined when the client forwards no agents. Throws
   * `not-found`, in the client's own words, when it forwards agents but not this one.
   */
  ssh(id: string): Promise<(() => Promise<Duplex>) | undefined>;
  /** The client's store of blobs of this ID, such as an OCI layout; undefined when the client offers no stores. */
  content?(id: string): Promise<ClientContent | undefined>;
  /**
   * The credentials for a registry's host. Those of `registry-1.docker.io` are asked for as
   * `https://index.docker.io/v1/`.
   */
  credentials(host: string): Promise<RegistryCredentials | undefined>;
}

/** A client's store of blobs. All methods throw `unavailable` (hop `session`) when the client is gone. */
export interface ClientContent {
  /** The size of a blob, in bytes; undefined when the blob is not there. */
  size(digest: Digest): Promise<number | undefined>;
  /**
   * The bytes of a blob, from an offset, `length` of them or all. The stream fails with `not-found`. The reader checks
   * the digest.
   */
  read(
    digest: Digest,
    options?: { offset?: number; length?: number; signal?: AbortSignal },
  ): Promise<Readable>;
  /** Stores a blob, which the client checks. A blob that is there already is no error. */
  write(
    blob: { digest: Digest; size: number },
    bytes: AsyncIterable<Uint8Array>,
    options?: { signal?: AbortSignal },
  ): Promise<void>;
  /** What a builder does to tidy up in the store; undefined: the client sees to that itself. */
  readonly upkeep?: ContentUpkeep;
}

/** The part of a client's store of blobs in which a builder may see all blobs and remove some. */
export interface ContentUpkeep {
  /** All blobs, in no order. `at`: when each was written, in ms since the epoch. */
  list(options?: { signal?: AbortSignal }): AsyncIterable<{ digest: Digest; size: number; at: number }>;
  /** Removes a blob. One that is not there is no error. */
  delete(digest: Digest): Promise<void>;
}

/** The session of a client that has connected to an API. Several builds may use it, and it may end before they do. */
export interface ClientSession extends Session {
  /** Fires when the client's connection is over. Its reason is an Error that tells why. */
  readonly closed: AbortSignal;
  /**
   * Asks the client's own policy about a source. Throws `unsupported` (hop `session`) when the client has no policy.
   */
  checkPolicy(question: PolicyQuestion): Promise<CheckPolicyResponse>;
  /**
   * Asks which exporters the client wants for a result. The client may look at the result: it gets its metadata, and
   * the ids of its refs in the build's gateway. Resolves with none when the client does not choose any.
   */
  findExporters(metadata: Record<string, Uint8Array>, refs: string[]): Promise<ChosenExporter[]>;
  /** Tells the client that everything is exported. Throws an error that the client answers with. */
  finalizeExport(response: Record<string, string>): Promise<void>;
  /**
   * Takes a build's files and archives to the client. `exporter` is the place of the output among the build's outputs
   * (clients before BuildKit 0.13 have one output and take no number). Whether the client takes any is found out when
   * the output is used.
   */
  output(exporter?: number | string): ClientOutput;
}

/** Takes an exporter's product to the client. It is one of the exporter's `OutputSink`s. */
export interface ClientOutput {
  /**
   * Opens the client's file for an archive. The stream ends when the client has the whole file; it fails with
   * `unavailable` or `unsupported` (hop `session`). `metadata` is the exporter's response so far
   * (`containerimage.digest` …), which the client may name the file by.
   */
  tar(metadata?: Readonly<Record<string, string>>): Promise<Writable>;
  /** Sends trees into the client's folder, on top of the files there. Resolves once the client has all of them. */
  send(trees: readonly OutputTree[], options: SendOptions): Promise<{ entries: number; bytes: number }>;
  /**
   * The client's store for the blobs of an image, when the client writes the rest of the OCI layout itself. Throws
   * `unsupported`.
   */
  content(): Promise<ClientContent>;
}

/** A tree that is sent to the client's folder. */
export interface OutputTree {
  spec: ViewSpec;
  /** The folder that the tree is put into; '' or undefined: the top. */
  prefix?: string;
}

interface SendOptions {
  /** The time of everything that is sent, in ns since the epoch; undefined: the files' own times. */
  timestampNs?: bigint;
  /** Hears how many bytes were sent so far. */
  onBytes?: (bytes: number) => void;
  signal: AbortSignal;
}
