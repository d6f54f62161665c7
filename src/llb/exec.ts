import type { MessageInitShape } from '@bufbuild/protobuf';
import { fail } from '../errors/index.ts';
import type { Platform } from '../oci/index.ts';
import type { MountSchema, Op as PbOp } from '../pb/solver/pb/ops_pb.js';
import { constraints, pbPlatform } from './message.ts';
import type { InputTable, OpNode, OpOptions, OutputRef } from './op.ts';
import { absolutePath } from './paths.ts';
import {
  CacheSharingOpt,
  create,
  ExecOpSchema,
  MountContentCache,
  MountType,
  NetMode,
  OpSchema,
  SecurityMode,
} from './pb.ts';
import type { State, StateValues } from './state.ts';

/** A tree, a cache or memory that a process sees at `target`. A relative target is below the working directory. */
export type RunMount =
  | {
      type?: 'bind';
      target: string;
      source: State;
      /** The folder or file of the source to mount; default: all of it. */
      selector?: string;
      readonly?: boolean;
      /** false: the process may write to the mount, but its writes are dropped. */
      output?: boolean;
      /** Whether the mount's contents may stand for its definition in the cache key. */
      contentCache?: boolean;
    }
  | {
      type: 'cache';
      target: string;
      id: string;
      sharing?: 'shared' | 'private' | 'locked';
      /** The contents of a new cache. */
      source?: State;
      selector?: string;
      readonly?: boolean;
    }
  | { type: 'tmpfs'; target: string /** Bytes; 0: no limit. */; size?: number };

/** A secret of the client that a process sees as a file or in its environment. */
export interface RunSecret {
  id: string;
  /** The path of the file; default `/run/secrets/<id>` unless `env` is given. */
  target?: string;
  /** The environment variable that gets the value. */
  env?: string;
  /** Whether the step runs without the secret when the client does not have it. */
  optional?: boolean;
  uid?: number;
  gid?: number;
  mode?: number;
}

/** A socket of the client's ssh agent that a process sees. */
export interface RunSsh {
  /** Default `default`. */
  id?: string;
  /** The path of the socket; default `/run/buildkit/ssh_agent.<n>`. */
  target?: string;
  optional?: boolean;
  uid?: number;
  gid?: number;
  mode?: number;
}

/** The proxies for the process. They are no part of the op's cache key. */
export interface ProxyEnv {
  httpProxy?: string;
  httpsProxy?: string;
  ftpProxy?: string;
  noProxy?: string;
  allProxy?: string;
}

/** The settings of a run. */
export interface RunOptions extends OpOptions {
  env?: Readonly<Record<string, string>>;
  cwd?: string;
  user?: string;
  hostname?: string;
  mounts?: readonly RunMount[];
  secrets?: readonly RunSecret[];
  ssh?: readonly RunSsh[];
  network?: 'default' | 'host' | 'none';
  security?: 'sandbox' | 'insecure';
  proxy?: ProxyEnv;
  extraHosts?: readonly { host: string; ip: string }[];
  ulimits?: readonly { name: string; soft: number; hard: number }[];
  cgroupParent?: string;
  devices?: readonly { name: string; optional?: boolean }[];
  /** Whether the root is read-only; the run has no root output then. */
  readonlyRoot?: boolean;
  /** Exit codes that mean success; default 0. */
  validExitCodes?: readonly number[];
}

interface MountPlan {
  mount: RunMount;
  /** A clean absolute path. */
  target: string;
  source: OutputRef;
  /** The index of the op's output that holds this mount afterwards; -1: none. */
  output: number;
}

/** Makes the op of a run on a state. */
export function runNode(base: State, args: string[], options: RunOptions): ExecNode {
  return new ExecNode(base, args, options);
}

/** A run as an op; `mounts` are all of its mounts, sorted by target. */
export class ExecNode implements OpNode {
  readonly options: OpOptions;
  readonly mounts: readonly MountPlan[];
  readonly #args: string[];
  readonly #values: StateValues;
  readonly #run: RunOptions;

  constructor(base: State, args: string[], run: RunOptions) {
    if (args.length === 0) throw fail('invalid', 'llb', 'a run needs a command');
    const { values } = base;
    this.options = run.platform === undefined ? { ...run, platform: values.platform } : run;
    this.#args = args;
    this.#run = run;
    let { env } = values;
    for (const [name, value] of Object.entries(run.env ?? {})) env = env.set(name, value);
    this.#values = {
      ...values,
      env,
      dir: run.cwd === undefined ? values.dir : absolutePath(values.dir, run.cwd),
      user: run.user ?? values.user,
      hostname: run.hostname ?? values.hostname,
      network: run.network ?? values.network,
      security: run.security ?? values.security,
      extraHosts: [...values.extraHosts, ...(run.extraHosts ?? [])],
      ulimits: [...values.ulimits, ...(run.ulimits ?? [])],
      cgroupParent: run.cgroupParent ?? values.cgroupParent,
    };
    this.mounts = planMounts(base, this.#values.dir, run);
  }

  get caps(): string[] {
    const caps = ['exec.meta.base'];
    const values = this.#values;
    if (values.network !== 'default') caps.push('exec.meta.network');
    if (values.security !== 'sandbox') caps.push('exec.meta.security');
    if (values.ulimits.length > 0) caps.push('exec.meta.ulimit');
    if (values.cgroupParent !== '') caps.push('exec.meta.cgroup.parent');
    if (this.#run.proxy !== undefined) caps.push('exec.meta.proxyenv');
    if (this.#run.validExitCodes?.length) caps.push('exec.validexitcode');
    if (this.#run.devices?.length) caps.push('exec.meta.cdi');
    if (this.#run.ssh?.length) caps.push('exec.mount.ssh');
    if (this.#run.secrets?.length) caps.push('exec.mount.secret');
    if (this.#run.secrets?.some((secret) => secret.env !== undefined)) caps.push('exec.secretenv');
    for (const { mount } of this.mounts) {
      if ('selector' in mount && mount.selector) caps.push('exec.mount.selector');
      if (mount.type === 'cache') caps.push('exec.mount.cache', 'exec.mount.cache.sharing');
      else if (mount.type === 'tmpfs') caps.push('exec.mount.tmpfs');
      else caps.push('exec.mount.bind');
      if (mount.type === 'tmpfs' && mount.size) caps.push('exec.mount.tmpfs.size');
      if ('output' in mount && mount.output === false) caps.push('exec.mount.bind.readwrite-nooutput');
      if ('contentCache' in mount && mount.contentCache !== undefined) caps.push('exec.mount.cache.content');
    }
    return caps;
  }

  /** The working directory of the process. */
  get dir(): string {
    return this.#values.dir;
  }

  inputs(): OutputRef[] {
    return this.mounts.map((mount) => mount.source);
  }

  encode(inputs: InputTable, platform: Platform): PbOp {
    const values = this.#values;
    const run = this.#run;
    const ssh = (run.ssh ?? []).map((agent, i) => ({
      ...agent,
      target: agent.target || `/run/buildkit/ssh_agent.${i}`,
    }));
    const env = [...values.env].map(([name, value]) => `${name}=${value}`);
    if (ssh[0] !== undefined && !values.env.has('SSH_AUTH_SOCK')) env.push(`SSH_AUTH_SOCK=${ssh[0].target}`);
    const mounts = this.mounts.map((plan) => pbMount(plan, inputs));
    for (const secret of run.secrets ?? []) {
      const target = secret.target ?? (secret.env === undefined ? `/run/secrets/${secret.id}` : undefined);
      if (target === undefined) continue;
      mounts.push({
        input: -1n,
        dest: target,
        mountType: MountType.SECRET,
        secretOpt: {
          ID: secret.id,
          uid: secret.uid ?? 0,
          gid: secret.gid ?? 0,
          mode: secret.mode ?? 0o400,
          optional: secret.optional ?? false,
        },
      });
    }
    for (const agent of ssh) {
      mounts.push({
        input: -1n,
        dest: agent.target,
        mountType: MountType.SSH,
        SSHOpt: {
          ID: agent.id ?? 'default',
          uid: agent.uid ?? 0,
          gid: agent.gid ?? 0,
          mode: agent.mode ?? 0o600,
          optional: agent.optional ?? false,
        },
      });
    }
    const exec = create(ExecOpSchema, {
      meta: {
        args: this.#args,
        env,
        cwd: values.dir,
        user: values.user,
        hostname: values.hostname,
        cgroupParent: values.cgroupParent,
        removeMountStubsRecursive: true,
        proxyEnv: run.proxy && { ...run.proxy },
        extraHosts: values.extraHosts.map(({ host, ip }) => ({ Host: host, IP: ip })),
        ulimit: values.ulimits.map((u) => ({ Name: u.name, Soft: BigInt(u.soft), Hard: BigInt(u.hard) })),
        validExitCodes: [...(run.validExitCodes ?? [])],
      },
      mounts,
      network: { default: NetMode.UNSET, host: NetMode.HOST, none: NetMode.NONE }[values.network],
      security: values.security === 'insecure' ? SecurityMode.INSECURE : SecurityMode.SANDBOX,
      secretenv: (run.secrets ?? []).flatMap(({ id, env: name, optional }) =>
        name === undefined ? [] : [{ ID: id, name, optional: optional ?? false }],
      ),
      cdiDevices: (run.devices ?? []).map(({ name, optional }) => ({ name, optional: optional ?? false })),
    });
    return create(OpSchema, {
      op: { case: 'exec', value: exec },
      platform: pbPlatform(platform),
      constraints: constraints(),
    });
  }
}

function planMounts(base: State, dir: string, run: RunOptions): MountPlan[] {
  const root: RunMount = { target: '/', source: base, readonly: run.readonlyRoot };
  const sorted = [root, ...(run.mounts ?? [])]
    .map((mount) => ({ mount, target: absolutePath(dir, mount.target) }))
    .sort((a, b) => (a.target < b.target ? -1 : a.target > b.target ? 1 : 0));
  let outputs = 0;
  return sorted.map(({ mount, target }, i) => {
    if (sorted[i + 1]?.target === target) throw fail('invalid', 'llb', `two mounts at ${target}`);
    const bind = mount.type === undefined || mount.type === 'bind';
    const writes = bind && !mount.readonly && mount.output !== false;
    return {
      mount,
      target,
      source: 'source' in mount ? mount.source?.output : undefined,
      output: writes ? outputs++ : -1,
    };
  });
}

function pbMount(plan: MountPlan, inputs: InputTable): MessageInitShape<typeof MountSchema> {
  const { mount } = plan;
  const common = {
    input: BigInt(inputs.add(plan.source)),
    dest: plan.target,
    output: BigInt(plan.output),
    readonly: 'readonly' in mount ? (mount.readonly ?? false) : false,
    selector: 'selector' in mount ? (mount.selector ?? '') : '',
  };
  if (mount.type === 'tmpfs') {
    return { ...common, mountType: MountType.TMPFS, TmpfsOpt: { size: BigInt(mount.size ?? 0) } };
  }
  if (mount.type === 'cache') {
    const sharing = {
      shared: CacheSharingOpt.SHARED,
      private: CacheSharingOpt.PRIVATE,
      locked: CacheSharingOpt.LOCKED,
    }[mount.sharing ?? 'shared'];
    return { ...common, mountType: MountType.CACHE, cacheOpt: { ID: mount.id, sharing } };
  }
  if (mount.contentCache === undefined) return common;
  return { ...common, contentCache: mount.contentCache ? MountContentCache.ON : MountContentCache.OFF };
}
