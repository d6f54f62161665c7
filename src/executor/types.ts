/** The door of the executor: run one process in a container on given mounts. */
import type { Readable } from 'node:stream';
import type { Mount } from '../fs/index.ts';

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
  /** A promise holds up the process's further output until it resolves. */
  stdout(chunk: Buffer): void | Promise<void>;
  stderr(chunk: Buffer): void | Promise<void>;
  /** The process gets a terminal: what it writes comes out of `stdout` alone. */
  terminal?: boolean;
  /** Called once the process runs. Not called when it has ended before that was noticed. */
  started?(control: ExecControl): void;
}

/** A running process. What is asked of it once it has ended does nothing. */
export interface ExecControl {
  /** Sends it a signal. Of SIGKILL all processes of the container die, if it is the container's first. */
  signal(name: NodeJS.Signals): void;
  /** Tells its terminal's size; without one it does nothing. */
  resize(rows: number, cols: number): void;
  /** Runs one more process in the container. Of the spec, the process counts: args, env, cwd, user, security, ulimits. */
  exec(spec: ExecSpec, io: ExecIo, signal: AbortSignal): Promise<{ exitCode: number }>;
}

export interface Executor {
  /** Runs to the end. Abort kills every process of the container at once. The exit code is 128+n for a signal n. */
  run(spec: ExecSpec, io: ExecIo, signal: AbortSignal): Promise<{ exitCode: number; oomKilled: boolean }>;
  /** No step is run any more: what tells others of this process is taken away. */
  close(): void;
}
