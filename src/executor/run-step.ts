/** Runs one step with an OCI runtime, on a host that was looked at. */
import { mkdirSync, statfsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setImmediate as nextTick } from 'node:timers/promises';
import { canceled, throwIfAborted, toDrydockError } from '../errors/index.ts';
import { bringFiles, openView, specOfMounts } from '../fs/index.ts';
import { checkOwner, closeFdAside, inUserNamespace, readText } from '../linux/index.ts';
import type { Network } from '../network/index.ts';
import type { StepUsage } from '../progress/index.ts';
import { inTurns, runTask } from '../workers/index.ts';
import type { Assembly } from './assemble.ts';
import { capabilitiesFor, ownBoundingSet } from './capabilities.ts';
import { type CgroupHost, clearGroup, detectCgroups } from './cgroups.ts';
import { type ConfinementOptions, confinementFor } from './confinement.ts';
import { controlOf, whenStarted } from './control.ts';
import { deviceMounts, deviceNodes } from './device-edits.ts';
import { insecureDevices, type OciDevice } from './devices.ts';
import { failureOf, noContainer } from './failure.ts';

import { countedDisk, countingRule } from './io-count.ts';
import { type Launch, launchCommand } from './launch.ts';
import { Launcher } from './launcher.ts';
import { hardLimits, oomScoreFor, pidsFor } from './limits.ts';
import { ociSpec } from './oci-spec.ts';
import { forgetVolatile } from './overlay-mount.ts';
import { Owner } from './owner.ts';
import { hostFileMounts, hostFiles, placeMount, treeOf } from './place-mounts.ts';
import { hostsName } from './process-sandbox.ts';
import { checkMapped, ownerOf, type Remap, StepNamespace } from './remap.ts';
import { chooseRuntime, forTerminal, type Runtime } from './runtime.ts';
import { shortageIn } from './shortage.ts';
import { limitsOfStep, type OperatorLimits } from './step-limits.ts';
import { StepRecorder } from './step-usage.ts';
import { planStubs, removeStubs } from './stubs.ts';
import { bundles, trustFor, withVariables } from './trust.ts';
import { tryRuntime } from './try-runtime.ts';
import type { ExecEnd, ExecIo, ExecSpec } from './types.ts';
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

/**
 * Finds out what the host has for steps, and sweeps what killed processes left behind. `expectsMore`: whether another
 * step will be run soon.
 */
export function lookAtHost(options: ExecutorOptions, expectsMore: () => boolean): Host {
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
    launcher: new Launcher({
      hostPids: processSandbox === false,
      owner: remap && ownerOf(remap),
      expectsMore,
    }),
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
  // A process of it may have had the right to change its network (CAP_NET_ADMIN), or a device in it.
  let hasNetRights = spec.security === 'insecure' || (spec.devices?.netDevices.length ?? 0) > 0;
  let cgroup: string | undefined;
  let namespace: number | undefined;
  // Made while the files are looked at.
  const acquiring = options.network.acquire({
    mode: spec.network,
    asksHost: spec.extraHosts.some(({ ip }) => ip === 'host-gateway' || options.network.isHost(ip)),
  });
  acquiring.catch(() => {});
  let clearing: Promise<void> | undefined;
  // The mounts go with their namespace.
  const unmount = async () => {
    const fd = namespace;
    namespace = undefined;
    if (fd !== undefined) await closeFdAside(fd);
  };
  const clear = async () => {
    await unmount();
    // What the step has made is committed first, and the next step is started.
    await nextTick();
    const isCleared = cgroup === undefined ? !hostPids : await clearGroup(cgroups, cgroup);
    await acquiring.then(
      (network) => network.release(isCleared && !hasNetRights),
      () => {},
    );
    // Each file of it may wait for the disk, which this thread does not.
    await runTask('store.remove', { paths: [bundle] });
  };
  try {
    mkdirSync(bundle, { recursive: true, mode: 0o700 });
    const rootSpec = specOfMounts(spec.root.mounts);
    const view = openView(rootSpec);
    await bringFiles(view, ['/etc/passwd', '/etc/group'], { signal });
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
    if (added.length > 0) await bringFiles(view, bundles, { signal });
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
    const confinement = host.confine({ ...spec, capabilities });
    // An insecure step is the machine's root, as it asked to be.
    const remap = spec.security === 'insecure' ? undefined : await host.namespace?.open();
    if (remap !== undefined) checkMapped(remap, user);
    // The network is none of the step's user namespace, in which only the network's owner may mount this.
    const sysfs =
      remap === undefined || network.kind === 'none'
        ? undefined
        : { at: join(bundle, 'sys'), network: network.namespace };
    const isHostSys = hostPids || (inUserNamespace() && network.kind === 'host');
    const assembly: Assembly = {
      remap,
      sysfs,
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
          usualShm: options.shmSize,
          oomScore: host.oomScore,
          devices: devicesOf(spec, edits?.devices),
          deviceRules: edits?.rules ?? [],
          terminal: io.terminal === true,
          sysfs: sysfs?.at ?? (isHostSys ? '/sys' : undefined),
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
              cgroup,
              root: rootSpec,
              network,
              usualUlimits,
              confinement,
              inNetwork,
              joins: ({ security }) => {
                hasNetRights ||= security === 'insecure';
              },
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
    if (shortage === undefined && neverStarted(bundle)) {
      // Loaded for the error alone.
      const { runtimeFault } = await import('./runtime-fault.ts');
      throw (await runtimeFault(runtime.command)) ?? noContainer(runtime.command, exitCode, limits.applied);
    }
    if (exitCode !== 0) {
      exitCode = failureOf(bundle, exitCode, { asked: limits.applied, shortage });
    }
    await unmount();
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
