/** The door of the executor: run one process in a container on given mounts. */
import type { Readable } from 'node:stream';
import type { Mount } from '../store/store.ts';

export interface ExecMount {
  /** Absolute path in the container. */
  dest: string;
  readonly: boolean;
  /** A snapshot's mounts, a host path (with optional sub-path), or a tmpfs. */
  source:
    | { type: 'mounts'; mounts: Mount[] /** Sub-path to show, inside the mounts. */; selector?: string }
    | { type: 'host'; path: string }
    | { type: 'tmpfs' /** Bytes; 0: no limit. */; size: number; mode?: number }
    /** A file that lives in memory only, in the container's own mount namespace (a secret). */
    | { type: 'file'; data: Buffer; uid: number; gid: number; mode: number };
}

export interface ExecSpec {
  /** Unique in this process; names the container, its cgroup and its bundle folder. */
  id: string;
  args: string[];
  /** `K=V` */
  env: string[];
  /** More `K=V`, kept off the disk: the process's configuration is then held in memory only. */
  secretEnv?: string[];
  cwd: string;
  /** `user[:group]`, names or numbers, looked up in the root filesystem; '' is root. */
  user: string;
  hostname: string;
  root: { mounts: Mount[]; readonly: boolean };
  mounts: ExecMount[];
  /** Folders made on the way to a mount point go too when it does (LLB's removeMountStubsRecursive). */
  removeStubParents?: boolean;
  network: 'default' | 'host' | 'none';
  security: 'sandbox' | 'insecure';
  extraHosts: { host: string; ip: string }[];
  ulimits: { name: string; soft: number; hard: number }[];
  /** Bytes for /dev/shm; 0: 64 MiB. */
  shmSize: number;
  cgroupParent: string;
  resources?: {
    memory?: number;
    memorySwap?: number;
    cpuShares?: number;
    cpuPeriod?: number;
    cpuQuota?: number;
    cpusetCpus?: string;
    cpusetMems?: string;
  };
}

export interface ExecIo {
  stdin?: Readable;
  stdout(chunk: Buffer): void;
  stderr(chunk: Buffer): void;
}

export interface Executor {
  /** Runs to the end. Abort kills every process of the container at once. The exit code is 128+n for a signal n. */
  run(spec: ExecSpec, io: ExecIo, signal: AbortSignal): Promise<{ exitCode: number; oomKilled: boolean }>;
}
