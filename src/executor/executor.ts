/** Runs steps with runc. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { canceled, fail, throwIfAborted, toDrydockError } from '../errors/error.ts';
import { openView } from '../fs/open.ts';
import { resolvePath } from '../fs/resolve.ts';
import { type FsView, specOfMounts } from '../fs/view.ts';
import { capabilitiesFor, ownBoundingSet } from './capabilities.ts';
import { type CgroupHost, detectCgroups, killGroup, outOfMemory, removeGroup } from './cgroups.ts';
import { hostResolv, hostsFile, resolvFile } from './host-files.ts';
import { type JoinTarget, join as joinContainer } from './join.ts';
import { type Launch, launchCommand, setupFailed } from './launch.ts';
import { hardLimits, limitsFor, rlimitsFor } from './limits.ts';
import { type OciMount, ociSpec, processSpec } from './oci-spec.ts';
import { Owner } from './owner.ts';
import { type Running, start } from './process.ts';
import { seccompProfile } from './seccomp.ts';
import { planStubs, removeStubs } from './stubs.ts';
import type { ExecControl, ExecIo, ExecMount, ExecSpec, Executor } from './types.ts';
import { lookUpUser } from './users.ts';

export interface ExecutorOptions {
  /** This process's own folder; bundles of running steps live in it. */
  runDir: string;
  /** Folder shared by all processes of one store, where each says which cgroups are its own. */
  stateDir: string;
  /** The OCI runtime; default `runc`, found in $PATH. */
  runc?: string;
}

const CAP_SYS_RESOURCE = 24;

/** What a process finds out once about its host. */
interface Host {
  cgroups: CgroupHost;
  owner: Owner;
  bounding: bigint;
  /** Hard limits that cannot be raised. */
  most: Map<string, number>;
  seccomp: object | undefined;
}

/** Makes the executor; what killed processes left behind is swept when its first step runs. */
export function createExecutor(options: ExecutorOptions): Executor {
  let host: Host | undefined;
  return {
    async run(spec, io, signal) {
      throwIfAborted(signal);
      host ??= lookAtHost(options.stateDir);
      return runStep(options, host, spec, io, signal);
    },
  };
}

function lookAtHost(stateDir: string): Host {
  const cgroups = detectCgroups();
  const bounding = ownBoundingSet();
  const mayRaise = ((bounding >> BigInt(CAP_SYS_RESOURCE)) & 1n) === 1n;
  return {
    cgroups,
    owner: new Owner(stateDir, cgroups),
    bounding,
    most: mayRaise ? new Map() : hardLimits(readText('/proc/self/limits')),
    seccomp: /^Seccomp:/m.test(readFileSync('/proc/self/status', 'latin1'))
      ? seccompProfile(process.arch)
      : undefined,
  };
}

async function runStep(
  options: ExecutorOptions,
  host: Host,
  spec: ExecSpec,
  io: ExecIo,
  signal: AbortSignal,
): Promise<{ exitCode: number; oomKilled: boolean }> {
  const bundle = resolve(options.runDir, 'exec', spec.id);
  const memory = join(bundle, 'memory');
  const { cgroups } = host;
  try {
    mkdirSync(bundle, { recursive: true, mode: 0o711 });
    const rootSpec = specOfMounts(spec.root.mounts);
    const view = openView(rootSpec);
    const user = lookUpUser(view, spec.user);
    const launch: Launch = {
      bundle,
      id: spec.id,
      runc: options.runc ?? 'runc',
      overlays: [],
      files: [],
      memory: undefined,
      config: bundle,
      withoutCgroups: cgroups.kind === 'none',
      pidFile: io.started === undefined ? undefined : join(bundle, 'init.pid'),
    };
    const data: Buffer[] = [];
    const hold = (path: string, bytes: Buffer, owner: { uid: number; gid: number; mode: number }) => {
      launch.memory = memory;
      launch.files.push({ path, size: bytes.length, ...owner });
      data.push(bytes);
    };
    const rootPath = placeRoot(spec, launch);
    const mounts = [
      ...hostFileMounts(spec, bundle),
      ...spec.mounts.map((m, i) => placeMount(m, i, launch, hold)),
    ];
    const stubs = planStubs(
      view,
      ['/proc', '/dev', '/sys', ...mounts.map((m) => m.destination)],
      spec.removeStubParents === true,
    );
    const cgroup = cgroups.kind === 'none' ? undefined : host.owner.group(spec.cgroupParent, spec.id);
    const { resources, missing } = limitsFor(spec.resources, cgroups.controllers);
    const { rlimits, lowered } = rlimitsFor(spec.ulimits, host.most);
    const warn = (text: string) => io.stderr(Buffer.from(`warning: ${text}\n`));
    for (const controller of missing)
      warn(`this host has no ${controller} cgroup: its limits are not applied`);
    for (const name of lowered)
      warn(`ulimit ${name} is lowered to ${host.most.get(name)}, the most this process may give`);
    const config = JSON.stringify(
      ociSpec({
        spec,
        rootPath,
        user,
        capabilities: capabilitiesFor(spec.security, host.bounding),
        seccomp: host.seccomp,
        mounts,
        cgroup,
        resources,
        rlimits,
        terminal: io.terminal === true,
      }),
    );
    if (spec.secretEnv !== undefined && spec.secretEnv.length > 0) {
      launch.config = memory;
      hold(join(memory, 'config.json'), Buffer.from(config), { uid: 0, gid: 0, mode: 0o600 });
    } else writeFileSync(join(bundle, 'config.json'), config, { mode: 0o600 });
    if (launch.memory !== undefined) mkdirSync(memory);

    let exitCode: number;
    try {
      throwIfAborted(signal);
      const running = start(
        launchCommand(launch),
        bundle,
        io,
        data.length > 0 ? Buffer.concat(data) : undefined,
      );
      signal.addEventListener('abort', running.kill, { once: true });
      try {
        void tellStarted(io, running, launch.pidFile, () =>
          controlOf(
            { bundle, state: launch.memory ?? bundle, id: spec.id, runc: launch.runc },
            running,
            host,
            view,
          ),
        );
        exitCode = await running.ended;
      } finally {
        signal.removeEventListener('abort', running.kill);
      }
    } finally {
      forgetVolatile(spec);
      const layer = rootSpec.kind === 'layers' && !spec.root.readonly ? rootSpec.dirs[0] : undefined;
      if (layer !== undefined)
        removeStubs(layer, stubs, rootSpec.kind === 'layers' && rootSpec.dirs.length > 1);
    }
    if (signal.aborted) throw canceled(signal.reason);
    const oomKilled = exitCode !== 0 && cgroup !== undefined && outOfMemory(cgroups, cgroup);
    return { exitCode: exitCode === 0 ? 0 : failureOf(bundle, exitCode), oomKilled };
  } catch (err) {
    throw signal.aborted ? canceled(signal.reason) : toDrydockError(err, 'exec');
  } finally {
    if (cgroups.kind !== 'none') await clearGroup(cgroups, host.owner.group(spec.cgroupParent, spec.id));
    rmSync(bundle, { recursive: true, force: true });
  }
}

/** Calls back once the process's pid is known, unless it ends before. */
async function tellStarted(
  io: ExecIo,
  running: Running,
  pidFile: string | undefined,
  control: () => ExecControl,
): Promise<void> {
  if (io.started === undefined || pidFile === undefined) return;
  let over = false;
  running.ended.then(
    () => {
      over = true;
    },
    () => {
      over = true;
    },
  );
  for (let wait = 2; !over; wait = Math.min(wait * 2, 50)) {
    if (readText(pidFile) !== '') return io.started(control());
    await sleep(wait);
  }
}

let lastJoin = 0;

/** What may be done with the first process of a container, and in it. */
function controlOf(target: JoinTarget, init: Running, host: Host, view: FsView): ExecControl {
  const runIn = async (spec: ExecSpec, io: ExecIo, signal: AbortSignal): Promise<{ exitCode: number }> => {
    throwIfAborted(signal);
    const first = init.first();
    if (first === undefined) throw fail('conflict', 'exec', 'the container does not run any more');
    const name = `join${++lastJoin}`;
    const process = processSpec({
      spec,
      user: lookUpUser(view, spec.user),
      capabilities: capabilitiesFor(spec.security, host.bounding),
      rlimits: rlimitsFor(spec.ulimits, host.most).rlimits,
      terminal: io.terminal === true,
    });
    const running = joinContainer(target, first, name, process, io);
    signal.addEventListener('abort', running.kill, { once: true });
    try {
      const control: ExecControl = { signal: running.signal, resize: running.resize, exec: runIn };
      void tellStarted(io, running, join(target.bundle, `${name}.pid`), () => control);
      const exitCode = await running.ended;
      if (signal.aborted) throw canceled(signal.reason);
      return { exitCode: exitCode === 0 ? 0 : failureOf(target.bundle, exitCode, `${name}.log`) };
    } finally {
      signal.removeEventListener('abort', running.kill);
    }
  };
  return { signal: init.signal, resize: init.resize, exec: runIn };
}

/** Where the root filesystem will be, mounted in the container's own namespace when it takes a mount. */
function placeRoot(spec: ExecSpec, launch: Launch): string {
  const mount = spec.root.mounts[0];
  if (mount === undefined) {
    const path = join(launch.bundle, 'root');
    mkdirSync(path);
    return path;
  }
  if (mount.type === 'bind') return mount.source;
  return placeOverlay(launch, 'root', mount.options);
}

/** Lets the snapshot be mounted again: a volatile overlay leaves a mark that forbids it. */
function forgetVolatile(spec: ExecSpec): void {
  const work = spec.root.mounts[0]?.options.find((option) => option.startsWith('workdir='));
  if (work === undefined) return;
  rmSync(join(work.slice('workdir='.length), 'work', 'incompat'), { recursive: true, force: true });
}

function placeOverlay(launch: Launch, name: string, options: string[]): string {
  const target = join(launch.bundle, name);
  mkdirSync(target);
  launch.overlays.push({ target, options });
  return target;
}

function placeMount(
  mount: ExecMount,
  index: number,
  launch: Launch,
  hold: (path: string, data: Buffer, owner: { uid: number; gid: number; mode: number }) => void,
): OciMount {
  const { dest: destination, source } = mount;
  const bind = (path: string): OciMount => ({
    destination,
    type: 'bind',
    source: path,
    options: ['rbind', 'rprivate', mount.readonly ? 'ro' : 'rw'],
  });
  switch (source.type) {
    case 'host':
      return bind(source.path);
    case 'file': {
      const path = join(launch.bundle, 'memory', `file${index}`);
      hold(path, source.data, source);
      return bind(path);
    }
    case 'tmpfs': {
      const options = ['nosuid', 'nodev', mount.readonly ? 'ro' : 'rw'];
      if (source.size > 0) options.push(`size=${source.size}`);
      if (source.mode !== undefined) options.push(`mode=${source.mode.toString(8)}`);
      return { destination, type: 'tmpfs', source: 'tmpfs', options };
    }
    case 'mounts': {
      const [first] = source.mounts;
      if (first === undefined) {
        const path = join(launch.bundle, `empty${index}`);
        mkdirSync(path);
        return bind(path);
      }
      const base =
        first.type === 'bind' ? first.source : placeOverlay(launch, `mount${index}`, first.options);
      if (source.selector === undefined || source.selector === '') return bind(base);
      const view = openView(specOfMounts(source.mounts));
      const inside = resolvePath(view, source.selector, { followLast: true });
      if (view.lstat(inside) === undefined) {
        throw fail('not-found', 'exec', `mount ${destination}: ${source.selector} is not in what is mounted`);
      }
      return bind(join(base, inside));
    }
  }
}

function hostFileMounts(spec: ExecSpec, bundle: string): OciMount[] {
  const file = (destination: string, name: string, text: string): OciMount => {
    const source = join(bundle, name);
    writeFileSync(source, text, { mode: 0o644 });
    return {
      destination,
      type: 'bind',
      source,
      options: ['rbind', 'rprivate', 'nosuid', 'noexec', 'nodev', 'ro'],
    };
  };
  const hostname = spec.hostname || 'buildkitsandbox';
  return [
    file('/etc/resolv.conf', 'resolv.conf', resolvFile(hostResolv(), spec.network !== 'none')),
    file('/etc/hosts', 'hosts', hostsFile(hostname, spec.extraHosts)),
  ];
}

/**
 * What a failure was: the step's own exit code, the shell's codes for a program that is not there (127) or cannot
 * be run (126), or an error of the setup or the runtime, thrown.
 */
function failureOf(bundle: string, exitCode: number, log = 'runc.log'): number {
  const setup = exitCode === setupFailed ? readText(join(bundle, 'setup.log')).trim() : '';
  if (setup !== '') {
    throw fail('internal', 'exec', `cannot mount the step's files: ${setup.split('\n')[0]}`, {
      hint: '`drydock doctor` says what this machine lacks.',
    });
  }
  const error = runtimeError(readText(join(bundle, log)));
  if (error === undefined) return exitCode;
  if (/executable file not found|exec.*no such file or directory|stat .*no such file/.test(error)) return 127;
  if (/exec.*(permission denied|is a directory|exec format error)/.test(error)) return 126;
  throw fail('internal', 'exec', `runc: ${error}`, {
    hint: '`drydock doctor` says what this machine lacks.',
  });
}

function runtimeError(log: string): string | undefined {
  for (const line of log.split('\n').reverse()) {
    if (line === '') continue;
    try {
      const entry = JSON.parse(line) as { level?: string; msg?: string };
      if (entry.level === 'error' || entry.level === 'fatal') return entry.msg;
    } catch {
      // Not a line of the runtime's.
    }
  }
  return undefined;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Waits until a container's processes are gone and removes its cgroup. */
async function clearGroup(host: CgroupHost, group: string): Promise<void> {
  for (let wait = 1; wait < 2000; wait *= 2) {
    if (removeGroup(host.trees, group)) return;
    killGroup(host.trees, group);
    await sleep(wait);
  }
}
