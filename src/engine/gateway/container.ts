/**
 * One container of a frontend: its mounts, and the processes in it. The first process is the container's init; others
 * join it.
 */

import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import { create } from '@bufbuild/protobuf';
import { fail } from '../../errors/index.ts';
import type { ExecControl, ExecEnd, ExecSpec } from '../../executor/index.ts';
import {
  type FsView,
  lookLive,
  type Mount,
  specOfMounts,
  type ViewSpec,
  withLiveView,
} from '../../fs/index.ts';
import { listExcess, platformOf } from '../../llb/index.ts';
import { defaultPath, digestOf, hostPlatform } from '../../oci/index.ts';
import {
  checkRuns,
  execSpec,
  modesOf,
  PreparedMounts,
  StepTime,
  secretEnvironment,
} from '../../ops/index.ts';
import type { InitMessage, NewContainerRequest } from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import { MountSchema, MountType } from '../../pb/solver/pb/ops_pb.js';
import { boundProgress } from '../../progress/index.ts';
import type { WorkContext } from '../../solver/index.ts';
import { runTask } from '../../workers/index.ts';
import type { Bridge } from '../bridge/bridge.ts';
import type { BridgeRef } from '../bridge/ref.ts';
import { requireEntitlement } from '../entitlements.ts';
import { networkUnder } from './proxied.ts';

interface ProcessIo {
  stdin?: Readable;
  stdout(chunk: Buffer): void | Promise<void>;
  stderr(chunk: Buffer): void | Promise<void>;
}

/** A process in a container. */
export interface ContainerProcess {
  /** Resolves once the process runs, or has ended before that was noticed. */
  readonly started: Promise<void>;
  /** How it ended. Rejects when the process could not be run, or was stopped with its container. */
  readonly ended: Promise<ExecEnd>;
  signal(name: NodeJS.Signals): void;
  resize(rows: number, cols: number): void;
}

/**
 * A container of a frontend. `prepare` makes its mounts, `start` runs a process in it, `look` reads its files, and
 * `release` ends it.
 */
export class Container {
  readonly #bridge: Bridge;
  readonly #request: NewContainerRequest;
  readonly #mounts: PreparedMounts;
  readonly #context: WorkContext;
  /** How long it may run, from its first process on. */
  readonly #time: StepTime;
  readonly #controller = new AbortController();
  readonly #processes = new Set<Promise<unknown>>();
  #init: { control: Promise<ExecControl>; spec: ExecSpec } | undefined;
  #released: Promise<boolean> | undefined;

  constructor(bridge: Bridge, request: NewContainerRequest) {
    this.#bridge = bridge;
    this.#request = request;
    const { engine, job, lease } = bridge;
    const digest = digestOf(`container ${request.ContainerID} ${randomUUID()}`);
    this.#context = {
      session: job.session,
      progress: boundProgress(digest, job.sink),
      signal: AbortSignal.any([job.signal, this.#controller.signal]),
      lease,
    };
    this.#time = new StepTime(engine.stepTimeout, this.#context.signal);
    this.#mounts = new PreparedMounts(engine, this.#context);
  }

  /**
   * Prepares the mounts. Throws `invalid` without a root and for a mount that cannot be, `not-found` for unknown refs.
   */
  async prepare(find: (id: string) => BridgeRef | undefined): Promise<void> {
    const { Mounts: mounts, extraHosts } = this.#request;
    const excess = listExcess({ mounts: mounts.length, hosts: extraHosts.length });
    if (excess !== undefined) throw fail('invalid', 'exec', `a container has ${excess}`);
    if (mounts.filter(({ dest }) => dest === '/').length !== 1) {
      throw fail('invalid', 'exec', 'a container needs one root mount');
    }
    const refs = await Promise.all(mounts.map(({ resultID }) => find(resultID)?.result()));
    const inputs = refs.filter((ref) => ref !== undefined);
    let input = 0;
    const named = mounts.map((mount, i) => {
      if (mount.dest === '/' && mount.mountType !== MountType.BIND) {
        throw fail('invalid', 'exec', 'invalid mount type for /: only a tree can be the root');
      }
      const at = refs[i] === undefined ? -1 : input++;
      return create(MountSchema, { ...mount, resultID: '', input: BigInt(at), output: -1n });
    });
    await this.#mounts.prepare(named, inputs);
  }

  /**
   * Calls `body` with a view of a mount as it is now. Throws `not-found` for a mount that there is not, or that holds
   * no files of the build.
   */
  look<T>(index: number, body: (view: FsView) => T): T {
    return withLiveView(this.#specAt(index), body);
  }

  /**
   * Reads a file of a mount as it is now. A thread does, since contents of lazy layers may have to come first. Throws
   * what `look` and `readFile` throw.
   */
  async read(
    index: number,
    path: string,
    range: { offset: number; length: number } | undefined,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    return runTask('gateway.read', { spec: this.#specAt(index), path, range }, { signal });
  }

  /** The same as `look` for work that may be cut. */
  looking<T>(index: number, body: (view: FsView) => Generator<void, T>): Generator<void, T> {
    return lookLive(this.#specAt(index), body);
  }

  #specAt(index: number): ViewSpec {
    const wanted = this.#request.Mounts[index];
    if (wanted === undefined) throw fail('not-found', 'exec', `container has no mount ${index}`);
    return specOfMounts(this.#mountsAt(wanted.dest, index));
  }

  #mountsAt(dest: string, index: number): Mount[] {
    if (dest === '/' && this.#mounts.root !== undefined) return this.#mounts.root.mounts;
    const source = this.#mounts.mounts.find((mount) => mount.dest === dest)?.source;
    if (source?.type === 'mounts') return source.mounts;
    throw fail('not-found', 'exec', `mount ${index} (${dest}) of the container cannot be looked into`);
  }

  /** Starts a process. Throws `denied` when the process or the container asks for more than the build was granted. */
  async start(init: InitMessage, io: ProcessIo): Promise<ContainerProcess> {
    if (this.#released !== undefined) throw fail('not-found', 'exec', 'the container was released');
    const { root } = this.#mounts;
    if (root === undefined) throw fail('internal', 'exec', 'the container has no root');
    const modes = modesOf({ network: this.#request.Network, security: init.Security });
    if (modes.network === 'host') requireEntitlement('network.host', this.#bridge.rules.allow);
    if (modes.security === 'insecure') requireEntitlement('security.insecure', this.#bridge.rules.allow);
    const hosts = this.#request.extraHosts.map(({ Host, IP }) => ({ host: Host, ip: IP }));
    const network =
      typeof modes.network === 'string'
        ? networkUnder(this.#bridge.rules, modes.network, { hosts, variables: init.Meta?.env })
        : modes.network;
    const spec = await this.#spec(init, root, { ...modes, network });
    if (platformOf(this.#request.platform).architecture !== hostPlatform().architecture) {
      const { args, cwd, env } = spec;
      await checkRuns({ args, cwd, env }, { root, mounts: spec.mounts }, this.#bridge.engine.emulation);
    }
    const first = this.#init;
    const gate = Promise.withResolvers<ExecControl>();
    gate.promise.catch(() => {}); // its end is told by `ended`
    const { executor } = this.#bridge.engine;
    const time = this.#time;
    const streams = {
      ...io,
      started: (control: ExecControl) => {
        time.start();
        gate.resolve(control);
      },
      terminal: init.Tty,
    };
    const run = async (): Promise<ExecEnd> => {
      try {
        if (first === undefined) return await executor.run(spec, streams, time.signal);
        const control = await first.control;
        return await control.exec(spec, streams, time.signal);
      } catch (err) {
        gate.reject(err);
        throw time.isUp && !this.#context.signal.aborted ? time.tooLong(spec.args) : err;
      } finally {
        if (first === undefined) time.stop();
        gate.reject(new Error('the process has ended'));
      }
    };
    if (first === undefined) this.#init = { control: gate.promise, spec };
    const ended = run();
    const settled = ended.then(
      ({ cleared }) => cleared,
      () => {},
    );
    this.#processes.add(settled);
    void settled.then(() => this.#processes.delete(settled));
    const control = (work: (control: ExecControl) => void) => void gate.promise.then(work, () => {});
    return {
      started: gate.promise.then(
        () => {},
        () => {},
      ),
      ended,
      signal: (name) => control((process) => process.signal(name)),
      resize: (rows, cols) => control((process) => process.resize(rows, cols)),
    };
  }

  async #spec(
    init: InitMessage,
    root: NonNullable<PreparedMounts['root']>,
    modes: Pick<ExecSpec, 'network' | 'security'>,
  ): Promise<ExecSpec> {
    const meta = init.Meta;
    if (meta === undefined || meta.args.length === 0) {
      throw fail('invalid', 'exec', 'a process needs arguments');
    }
    const env = [...meta.env];
    const has = (name: string) => env.some((entry) => entry.startsWith(`${name}=`));
    if (!has('PATH')) env.push(`PATH=${defaultPath(this.#request.platform?.OS ?? '')}`);
    if (init.Tty && !has('TERM')) env.push('TERM=xterm');
    const { extraHosts, hostname } = this.#request;
    return execSpec(
      'gateway',
      { ...meta, extraHosts, hostname },
      {
        root,
        mounts: this.#mounts.mounts,
        env,
        secretEnv: await secretEnvironment(init.secretenv, this.#context),
        ...modes,
        machine: this.#request.platform?.Architecture,
      },
    );
  }

  /** Kills the container's processes and lets go of its mounts. Returns whether a process still ran. */
  release(): Promise<boolean> {
    this.#released ??= (async () => {
      const ran = this.#processes.size > 0;
      this.#controller.abort(new Error('the container was released'));
      await Promise.all(this.#processes);
      await this.#mounts.release();
      return ran;
    })();
    return this.#released;
  }
}
