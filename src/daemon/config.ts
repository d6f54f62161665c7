/** The configuration of a daemon, as values. `settings.ts` reads them from flags, the environment and a file. */
import type { ApiHost, GrpcAcceptor, LogLevel } from '../api/index.ts';
import type { TlsFiles } from '../auth/index.ts';
import type {
  BucketOptions,
  LimitOptions,
  RegistryOptions,
  StoreOptions,
  TellOptions,
} from '../engine/index.ts';
import type { LogFormat } from './log.ts';

/** The configuration; the store's and the registries' options are part of it. */
export interface DaemonConfig
  extends StoreOptions,
    RegistryOptions,
    LimitOptions,
    TellOptions,
    BucketOptions {
  /** The addresses to listen on; empty: the socket under the root. */
  hosts: string[];
  /** The group of unix sockets, by name or number. */
  group?: string;
  tls?: TlsFiles;
  insecureTcp?: boolean;
  /** `HOST:PORT` of a listener for health and metrics alone; undefined or empty: there is none. */
  metricsAddress?: string;
  /** Whether the pages below `/debug/` are there, too, for this machine's own users. */
  debugPages?: boolean;
  /** The address of the Docker engine to which requests for containers, volumes and networks go. */
  engine?: string;
  /** The oldest version of docker's API that clients may ask for. */
  minApiVersion?: string;
  /** Whether clients are told that there are experimental features. */
  experimental?: boolean;
  policyFile?: string;
  auditFile?: string;
  /** The cache that the daemon shares with others, as a setting names it. */
  sharedCachePlace?: string;
  logLevel?: LogLevel;
  logFormat?: LogFormat;
  /** Whether state of BuildKit's own buildkitd in the root is set aside. */
  replacesBuildkitd?: boolean;
  /** How long builds may go on after a stop was asked for, in ms. */
  shutdownTimeout?: number;
  /** Takes the lines of the log; default: stderr. */
  writeLog?: (line: string) => void;
  /** Makes the server of BuildKit's API; undefined: that API is refused. */
  grpc?: (host: ApiHost) => GrpcAcceptor | Promise<GrpcAcceptor>;
}

export const defaultShutdownTimeout = 15_000;
