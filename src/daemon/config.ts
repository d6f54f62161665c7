/** What a daemon is started with, as values. `settings.ts` reads them from flags, environment and file. */
import type { ApiHost, GrpcAcceptor, LogLevel } from '../api/index.ts';
import type { TlsFiles } from '../auth/index.ts';
import type { LimitOptions, RegistryOptions, StoreOptions } from '../engine/index.ts';
import type { LogFormat } from './log.ts';

/** Among it, where state and images are kept. */
export interface DaemonConfig extends StoreOptions, RegistryOptions, LimitOptions {
  /** Addresses to listen on; none: the socket under the root. */
  hosts: string[];
  /** Group of unix sockets: name or number. */
  group?: string;
  tls?: TlsFiles;
  insecureTcp?: boolean;
  policyFile?: string;
  auditFile?: string;
  logLevel?: LogLevel;
  logFormat?: LogFormat;
  /** How long builds may go on after a stop was asked for, ms. */
  shutdownTimeout?: number;
  /** Where log lines go; stderr. */
  writeLog?: (line: string) => void;
  /** Serves BuildKit's API; missing: it is refused. */
  grpc?: (host: ApiHost) => GrpcAcceptor | Promise<GrpcAcceptor>;
}

export const defaultShutdownTimeout = 15_000;
