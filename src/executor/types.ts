/** The contract of the executor: it runs one process in a container, on given mounts. */
import type { Readable } from 'node:stream';
import type { ContainerEdits } from '../cdi/index.ts';
import type { Mount } from '../fs/index.ts';
import type { ProxyRequest } from '../network/index.ts';
import type { StepUsage } from '../progress/index.ts';
import type { MountFlag } from './assemble.ts';
import type { Shortage } from './shortage.ts';

/** One mount of a container, besides its root. */
export interface ExecMount {
  /** Absolute path in the container. */
  dest: string;
  readonly: boolean;
  flags?: readonly MountFlag[];
  /** The content of the mount: a snapshot's mounts, a path of the host, a tmpfs, or a file. */
  source:
    | { type: 'mounts'; mounts: Mount[] /** The path inside them to show. */; selector?: string }
    | { type: 'host'; path: string }
    | { type: 'tmpfs' /** Bytes; 0: no limit. */; size: number; mode?: number }
    /** A file that is held in memory alone, in the container's own mount namespace (a secret). */
    | { type: 'file'; data: Buffer; uid: number; gid: number; mode: number };
}

/**
 * A process and its container: what is run, on which files, and within which limits. `ops/exec/spec.ts` makes one of
 * LLB's description.
 */
export interface ExecSpec {
  /** Names the container, its cgroup and its bundle folder. It is unique in this process. */
  id: string;
  args: string[];
  /** Variables as `K=V`. */
  env: string[];
  /** More variables as `K=V`. With them the process's configuration is held in memory only, off the disk. */
  secretEnv?: string[];
  cwd: string;
  /** `user[:group]`, as names or numbers, looked up in the root filesystem; '' is root. */
  user: string;
  hostname: string;
  root: { mounts: Mount[]; readonly: boolean };
  mounts: ExecMount[];
  /**
   * Removes a mount point after the run together with the folders that were made on the way to it (LLB's
   * removeMountStubsRecursive).
   */
  removeStubParents?: boolean;
  network: 'default' | 'host' | 'none' | { name: string } | { proxy: ProxyRequest };
  security: 'sandbox' | 'insecure';
  /** The machine type of its platform, as `386`; undefined: this machine's. */
  machine?: string;
  extraHosts: { host: string; ip: string }[];
  ulimits: readonly { name: string; soft: number; hard: number }[];
  /** The size of /dev/shm, in bytes; 0: 64 MiB. */
  shmSize: number;
  cgroupParent: string;
  /** What it gets for its devices. */
  devices?: ContainerEdits;
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

/** The input and output of a process. */
export interface ExecIo {
  stdin?: Readable;
  /** Takes output. A promise that it returns holds up the process's further output until it resolves. */
  stdout(chunk: Buffer): void | Promise<void>;
  stderr(chunk: Buffer): void | Promise<void>;
  /** Gives the process a terminal. All that the process writes then goes to `stdout`. */
  terminal?: boolean;
  /** Called once the process runs. It is not called when the process has ended before that was noticed. */
  started?(control: ExecControl): void;
}

/** A running process. Its methods do nothing once the process has ended. */
export interface ExecControl {
  /**
   * Sends the process a signal. When the process is the container's first, SIGKILL kills all processes of the
   * container.
   */
  signal(name: NodeJS.Signals): void;
  /** Sets the size of the process's terminal, if it has one. */
  resize(rows: number, cols: number): void;
  /**
   * Runs one more process in the container. Of the spec, the parts that describe a process count: args, env, cwd, user,
   * security, ulimits. `shortage` tells of what was killed in the container while it ran.
   */
  exec(spec: ExecSpec, io: ExecIo, signal: AbortSignal): Promise<Pick<ExecEnd, 'exitCode' | 'shortage'>>;
}

/** How a container ended. */
export interface ExecEnd {
  /** 128+n for a process that signal n has ended. */
  exitCode: number;
  /** Something in the container was killed for want of memory, whatever the exit code is. */
  shortage?: Shortage;
  /** What its processes have used; undefined where there are no cgroups. */
  usage?: StepUsage;
  /**
   * Settles when nothing of the container is left. Its processes and mounts are gone at once; its cgroup and its folder
   * go while the caller works on.
   */
  cleared?: Promise<void>;
}

/**
 * Runs containers. A container is made by `run`, from its mounts to its cgroup. Nothing of it is left when `run` rejects,
 * or when `cleared` of what it resolves with has settled.
 */
export interface Executor {
  /**
   * Says that a step will be run, in such a network: what it needs of this host is made ready meanwhile. The result is
   * called when the step begins, or never will.
   */
  expect(network: ExecSpec['network']): () => void;
  /**
   * Runs a process to its end. When the signal fires, every process of the container is killed at once. The exit code
   * is 128+n for a process that signal n has ended.
   *
   *     const { exitCode } = await executor.run(execSpec('exec', meta, place), io, signal);
   */
  run(spec: ExecSpec, io: ExecIo, signal: AbortSignal): Promise<ExecEnd>;
  /** Says that no step is run any more, and takes away the note that tells other processes of this one. */
  close(): void;
}
