/** What a daemon is started with, as values. `settings.ts` reads them from flags, environment and file. */
import type { GrpcServer } from '../api/shared/grpc.ts';
import type { ApiHost, LogLevel } from '../api/shared/host.ts';
import type { TlsFiles } from '../auth/tls.ts';
import type { LimitOptions, RegistryOptions } from '../engine/engine.ts';
import type { StoreOptions } from '../engine/store-options.ts';
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
  grpc?: (host: ApiHost) => GrpcServer | Promise<GrpcServer>;
}

export const defaultShutdownTimeout = 15_000;
