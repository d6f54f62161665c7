/** Runs one step with an OCI runtime, on a host that was looked at. */
import { mkdirSync, rmSync, statfsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setImmediate as nextTick, setTimeout as sleep } from 'node:timers/promises';
import { canceled, fail, throwIfAborted, toDrydockError } from '../errors/index.ts';
import { openView, specOfMounts, type ViewSpec, withLiveView } from '../fs/index.ts';
import { checkOwner, closeFd, inUserNamespace, readText } from '../linux/index.ts';
import type { Network, StepNetwork } from '../network/index.ts';
import type { StepUsage } from '../progress/index.ts';
import { inTurns, runTask } from '../workers/index.ts';
import type { Assembly } from './assemble.ts';
import { capabilitiesFor, ownBoundingSet } from './capabilities.ts';
import { type CgroupHost, clearGroup, detectCgroups } from './cgroups.ts';
import { type Confinement, type ConfinementOptions, confinementFor } from './confinement.ts';
import { deviceMounts, deviceNodes } from './device-edits.ts';
import { insecureDevices, type OciDevice } from './devices.ts';
import { failureOf, noContainer } from './failure.ts';

import { countedDisk, countingRule } from './io-count.ts';
import { type JoinTarget, join as joinContainer } from './join.ts';
import { type Launch, launchCommand } from './launch.ts';
import { Launcher } from './launcher.ts';
import { hardLimits, oomScoreFor, pidsFor, rlimitsFor, withUsual } from './limits.ts';
import { ociSpec, processSpec } from './oci-spec.ts';
import { forgetVolatile } from './overlay-mount.ts';
import { Owner } from './owner.ts';
import { hostFileMounts, hostFiles, placeMount, treeOf } from './place-mounts.ts';
import type { RuntimeProcess } from './process.ts';
import { hostsName } from './process-sandbox.ts';
import { checkMapped, ownerOf, type Remap, StepNamespace } from './remap.ts';
import { chooseRuntime, forTerminal, type Runtime } from './runtime.ts';
import { shortageIn } from './shortage.ts';
import { limitsOfStep, type OperatorLimits } from './step-limits.ts';
import { StepRecorder } from './step-usage.ts';
import { planStubs, removeStubs } from './stubs.ts';
import { trustFor, withVariables } from './trust.ts';
import { tryRuntime } from './try-runtime.ts';
import type { ExecControl, ExecEnd, ExecIo, ExecSpec } from './types.ts';
import { lookUpUser } from './users.ts';

export interface ExecutorOptions extends OperatorLimits, ConfinementOptions {
  /** This process's own folder. The bundles of running steps are in it. */
  runDir: string;
  /** A folder that all processes on one store share. In it each process says which cgroups are its own. */
  stateDir: string;
  /** The OCI runtime, found in $PATH; default: crun where it works, else runc. */
  runtime?: string;
  /** The networks of steps; default: the host's own for all of them. */
  network?: Network;
  /** Certificates of authorities, as PEM, that the programs of steps trust besides those of their images. */
  trusted?: readonly string[];
  /** The cgroup of steps that name none. */
  cgroupParent?: string;
  /** The most processes and threads of a step; 0: no limit. */
  pids?: number;
  /** The oom_score_adj of steps. */
  oomScore?: number;
  /** Gives each step a pid namespace and a /proc of its own; default: yes. */
  processSandbox?: boolean;
  /** Has steps in a user namespace of their own, with these users of the machine. */
  remap?: Remap;
}

const CAP_SYS_RESOURCE = 24;

/** The facts that a process finds out once about its host. */
export interface Host {
  cgroups: CgroupHost;
  owner: Owner;
  launcher: Launcher;
  /** The user namespace of steps, where they have one of their own. */
  namespace: StepNamespace | undefined;
  /** The runtime of steps; what it is is found out the first time. */
  runtime(): Promise<Runtime>;
  bounding: bigint;
  /** The hard limits that cannot be raised, by ulimit. */
  most: Map<string, number>;
  confine: ReturnType<typeof confinementFor>;
  /** The disk whose use must be asked to be counted. */
  disk: ReturnType<typeof countedDisk>;
  pids: number;
  oomScore: number;
}

/** Finds out what the host has for steps, and sweeps what killed processes left behind. */
export function lookAtHost(options: ExecutorOptions): Host {
  const { stateDir, runDir, pids, oomScore, processSandbox, remap } = options;
  const cgroups = detectCgroups();
  const bounding = ownBoundingSet();
  // The kernel asks for this capability outside of user namespaces.
  const mayRaise = !inUserNamespace() && ((bounding >> BigInt(CAP_SYS_RESOURCE)) & 1n) === 1n;
  const confine = confinementFor(options);
  const owner = new Owner(stateDir, cgroups);
  const tryHost = { cgroups, bounding, confine, runDir, group: (id: string) => owner.group('', id) };
  let runtime: Promise<Runtime> | undefined;
  return {
    cgroups,
    owner,
    launcher: new Launcher(processSandbox === false, remap && ownerOf(remap)),
    namespace: remap && new StepNamespace(remap),
    runtime: () =>
      (runtime ??= chooseRuntime({
        named: options.runtime ?? (inUserNamespace() || remap !== undefined ? 'runc' : undefined),
        stateDir,
        cgroups,
        attempt: (candidate) => tryRuntime(candidate, tryHost),
      })),
    bounding,
    disk: countedDisk(cgroups, stateDir),
    most: mayRaise ? new Map() : hardLimits(readText('/proc/self/limits')),
    confine,
    pids: pids ?? pidsFor(['pid_max', 'threads-max'].map((name) => numberIn(`/proc/sys/kernel/${name}`))),
    oomScore: oomScore ?? oomScoreFor(numberIn('/proc/self/oom_score_adj')),
  };
}

function numberIn(file: string): number {
  return Number(readText(file).trim());
}

/** Runs a step from its files to its end. `started` is called when its process has started or never will. */
export async function runStep(
  options: ExecutorOptions & { network: Network },
  host: Host,
  spec: ExecSpec,
  io: ExecIo,
  signal: AbortSignal,
  started: () => void,
): Promise<ExecEnd> {
  const bundle = resolve(options.runDir, 'exec', spec.id);
  const memory = join(bundle, 'memory');
  const { cgroups } = host;
  const hostPids = options.processSandbox === false;
  let cgroup: string | undefined;
  let namespace: number | undefined;
  // Made while the files are looked at.
  const acquiring = options.network.acquire({
    mode: spec.network,
    asksHost: spec.extraHosts.some(({ ip }) => ip === 'host-gateway' || options.network.isHost(ip)),
  });
  acquiring.catch(() => {});
  let clearing: Promise<void> | undefined;
  const clear = async () => {
    // The mounts go with it.
    if (namespace !== undefined) closeFd(namespace);
    // What the step has made is committed first, and the next step is started.
    await nextTick();
    if (cgroup !== undefined) await clearGroup(cgroups, cgroup);
    await acquiring.then(
      (network) => network.release(),
      () => {},
    );
    // At once where there is little, as it mostly is.
    if (spec.mounts.length < 50) rmSync(bundle, { recursive: true, force: true });
    else await rm(bundle, { recursive: true, force: true });
  };
  try {
    mkdirSync(bundle, { recursive: true, mode: 0o700 });
    const rootSpec = specOfMounts(spec.root.mounts);
    const view = openView(rootSpec);
    const user = lookUpUser(view, spec.user);
    checkOwner(user.uid, [user.gid, ...user.groups]);
    const files: Assembly['files'] = [];
    const edits = spec.devices === undefined ? undefined : deviceNodes(spec.devices, user);
    const more = spec.devices === undefined ? [] : deviceMounts(spec.devices);
    const placed = [...spec.mounts, ...more].map((m, i) => placeMount(m, i, { bundle, files }));
    const places = ['/proc', '/dev', '/sys', ...hostFiles, ...placed.map((m) => m.dest)];
    const stubs = await inTurns(planStubs(view, places, spec.removeStubParents === true), signal);
    const network = await acquiring;
    const chosen = await host.runtime();
    const runtime = io.terminal === true ? forTerminal(chosen, options.runtime !== undefined) : chosen;
    const added = [
      ...(options.trusted ?? []),
      ...(network.authority === undefined ? [] : [network.authority]),
    ];
    const trust = trustFor(view, { bundle, env: spec.env, added });
    const inNetwork = (process: ExecSpec): ExecSpec => withVariables(process, network.env ?? [], trust.env);
    const mounts = [
      ...trust.mounts,
      ...hostFileMounts(spec, bundle, network, hostPids ? hostsName(host.owner.name) : undefined),
      ...placed,
    ];
    if (cgroups.kind !== 'none') {
      cgroup = host.owner.group(spec.cgroupParent || (options.cgroupParent ?? ''), spec.id);
    }
    const limits = limitsOfStep(spec, options, host);
    for (const text of limits.warnings) io.stderr(Buffer.from(`warning: ${text}\n`));
    const hasSecrets = files.length > 0 || (spec.secretEnv?.length ?? 0) > 0;
    const state = hasSecrets ? memory : bundle;
    const capabilities = capabilitiesFor(spec.security, host.bounding, network);
    const confinement = host.confine({ security: spec.security, capabilities });
    // An insecure step is the machine's root, as it asked to be.
    const remap = spec.security === 'insecure' ? undefined : await host.namespace?.open();
    if (remap !== undefined) checkMapped(remap, user);
    const assembly: Assembly = {
      remap,
      bundle,
      label: confinement.labels?.mount,
      hidden: runtime.hidden,
      root: treeOf(spec.root.mounts, join(bundle, 'empty')),
      mounts,
      memory: hasSecrets ? memory : undefined,
      files,
      config: {
        path: join(state, 'config.json'),
        spec: ociSpec({
          spec: inNetwork(spec),
          rootPath: join(bundle, 'root'),
          user,
          capabilities,
          confinement,
          cgroup,
          // As docker and BuildKit have it: on cgroups v1 programs look for their path below the host's mounts.
          cgroupNamespace: cgroups.kind !== 'v1',
          resources: { ...limits.oci, ...(host.disk && { blockIO: countingRule(host.disk) }) },
          rlimits: limits.rlimits,
          oomScore: host.oomScore,
          devices: devicesOf(spec, edits?.devices),
          deviceRules: edits?.rules ?? [],
          terminal: io.terminal === true,
          hostSys:
            hostPids ||
            (inUserNamespace() && network.kind === 'host') ||
            (remap !== undefined && network.kind !== 'none'),
          hostPids,
          remap,
          emptyNetwork: network.kind === 'none',
        }),
      },
    };

    let exitCode: number;
    let usage: StepUsage | undefined;
    try {
      throwIfAborted(signal);
      // Never queued: a step does not wait for others' layers to be packed.
      namespace = await runTask('exec.assemble', assembly, { waits: true });
      throwIfAborted(signal);
      const launch: Launch = {
        bundle,
        id: spec.id,
        runtime: runtime.command,
        namespace: `/proc/${process.pid}/fd/${namespace}`,
        network: network.namespace,
        state,
        config: state,
        withoutCgroups: cgroups.kind === 'none',
        hostPids,
        pidFile: join(bundle, 'init.pid'),
      };
      const recorder = cgroup === undefined ? undefined : new StepRecorder(cgroups, cgroup);
      const running = host.launcher.start(launchCommand(launch), bundle, io);
      signal.addEventListener('abort', running.kill, { once: true });
      try {
        // When this one has been told, which is work for the other processors.
        setImmediate(() => host.launcher.prepare());
        void whenStarted(running, launch.pidFile, () => {
          started();
          const hasNetwork = network.kind === 'own';
          const target = { bundle, state, id: spec.id, runtime: launch.runtime, hasNetwork, hostPids };
          const { ulimits: usualUlimits } = options;
          io.started?.(
            controlOf(target, running, {
              host,
              root: rootSpec,
              network,
              usualUlimits,
              confinement,
              inNetwork,
            }),
          );
        });
        exitCode = await running.ended;
        usage = recorder?.end();
      } finally {
        recorder?.stop();
        signal.removeEventListener('abort', running.kill);
      }
    } finally {
      forgetVolatile(spec.root.mounts[0]?.options ?? []);
      const layer = rootSpec.kind === 'layers' && !spec.root.readonly ? rootSpec.dirs[0] : undefined;
      if (layer !== undefined)
        await inTurns(removeStubs(layer, stubs, rootSpec.kind === 'layers' && rootSpec.dirs.length > 1));
    }
    if (signal.aborted) throw canceled(signal.reason);
    const shortage = cgroup === undefined ? undefined : shortageIn(cgroups, cgroup);
    if (exitCode !== 0) {
      if (shortage === undefined && neverStarted(bundle))
        throw noContainer(runtime.command, exitCode, limits.applied);
      exitCode = failureOf(bundle, exitCode, { asked: limits.applied, shortage });
    }
    clearing = clear();
    return { exitCode, shortage, usage, cleared: clearing };
  } catch (err) {
    throw signal.aborted ? canceled(signal.reason) : toDrydockError(err, 'exec');
  } finally {
    if (clearing === undefined) await clear();
  }
}

/**
 * Whether the runtime has neither started a process nor said why. It can write neither on a disk that the step has
 * filled.
 */
function neverStarted(bundle: string): boolean {
  const { bfree, bsize } = statfsSync(bundle);
  if (bfree * bsize < 1 << 20) return false;
  return readText(join(bundle, 'init.pid')) === '' && readText(join(bundle, 'runtime.log')) === '';
}

/** The devices of a step besides the usual ones. In a user namespace none can be made but those that are asked for. */
function devicesOf({ security }: ExecSpec, asked: readonly OciDevice[] = []): OciDevice[] {
  const own = security === 'insecure' && !inUserNamespace() ? insecureDevices() : [];
  const paths = new Set(asked.map(({ path }) => path));
  return [...own.filter(({ path }) => !paths.has(path)), ...asked];
}

/** Calls back once the process's pid is known, unless the process ends before that. */
async function whenStarted(running: RuntimeProcess, pidFile: string, then: () => void): Promise<void> {
  let over = false;
  const end = () => {
    over = true;
  };
  running.ended.then(end, end);
  for (let wait = 2; !over; wait = Math.min(wait * 2, 50)) {
    await sleep(wait);
    if (readText(pidFile) !== '') return then();
  }
}

let lastJoin = 0;

/** What the processes of a container have in common. */
interface Container {
  host: Host;
  root: ViewSpec;
  network: StepNetwork;
  usualUlimits: ExecSpec['ulimits'] | undefined;
  confinement: Confinement;
  /** Adds the variables of the container's network to a process. */
  inNetwork(process: ExecSpec): ExecSpec;
}

/** The control of a container's first process, by which others are run in the container. */
function controlOf(
  target: JoinTarget,
  init: RuntimeProcess,
  { host, root, network, usualUlimits, confinement, inNetwork }: Container,
): ExecControl {
  const runIn = async (spec: ExecSpec, io: ExecIo, signal: AbortSignal): Promise<{ exitCode: number }> => {
    throwIfAborted(signal);
    const first = init.first();
    if (first === undefined) throw fail('conflict', 'exec', 'the container does not run any more');
    const name = `join${++lastJoin}`;
    const process = processSpec({
      spec: inNetwork(spec),
      user: withLiveView(root, (view) => lookUpUser(view, spec.user)),
      capabilities: capabilitiesFor(spec.security, host.bounding, network),
      rlimits: rlimitsFor(withUsual(spec.ulimits, usualUlimits), host.most).rlimits,
      oomScore: host.oomScore,
      terminal: io.terminal === true,
      confinement:
        spec.security === 'insecure' ? { ...confinement, apparmorProfile: undefined } : confinement,
    });
    const running = joinContainer(target, first, name, process, io);
    signal.addEventListener('abort', running.kill, { once: true });
    try {
      const control: ExecControl = { signal: running.signal, resize: running.resize, exec: runIn };
      if (io.started !== undefined) {
        void whenStarted(running, join(target.bundle, `${name}.pid`), () => io.started?.(control));
      }
      const exitCode = await running.ended;
      if (signal.aborted) throw canceled(signal.reason);
      return {
        exitCode:
          exitCode === 0 ? 0 : failureOf(target.bundle, exitCode, { asked: spec, log: `${name}.log` }),
      };
    } finally {
      signal.removeEventListener('abort', running.kill);
    }
  };
  return { signal: init.signal, resize: init.resize, exec: runIn };
}
