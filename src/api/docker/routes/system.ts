/** `_ping`, `version`, `info`, and the daemon's own `metrics` and `healthz`. */

import { readdirSync, readFileSync } from 'node:fs';
import { arch, availableParallelism, release, totalmem } from 'node:os';
import type { Engine } from '../../../engine/index.ts';
import { listedImages } from '../../../images/index.ts';
import { rootlessUser } from '../../../linux/index.ts';
import { hostPlatform } from '../../../oci/index.ts';
import { parseInsecure } from '../../../registry/index.ts';
import { version } from '../../../version.ts';
import type { ApiHost } from '../../shared/host.ts';
import { imagesThere, seenBehind } from '../behind/images-there.ts';
import { engineComponents, mergedInfo } from '../behind/merge.ts';
import type { Call, Route } from '../http/route.ts';
import { isBefore, newestVersion, oldestVersion } from '../http/version.ts';

import { machineLacks } from '../machine-lacks.ts';

export const systemRoutes: Route[] = [
  { method: 'GET', path: '/_ping', scopes: [], handle: ping },
  { method: 'HEAD', path: '/_ping', scopes: [], handle: ping },
  { method: 'GET', path: '/version', scopes: [], handle: showVersion },
  { method: 'GET', path: '/info', scopes: ['system:read'], handle: info },
  {
    method: 'GET',
    path: '/metrics',
    scopes: ['system:read'],
    handle: async ({ host }) => ({ text: await host.metrics() }),
  },
  {
    method: 'GET',
    path: '/healthz',
    scopes: [],
    handle({ host }) {
      const { ok, reason } = host.health();
      return ok ? { text: 'ok\n' } : { json: { message: reason }, status: 503 };
    },
  },
];

/**
 * Answers a ping. Clients read the newest API version and the builder to use from the headers, also of other answers.
 */
function ping({ response }: Call): undefined {
  const body = 'OK';
  response.writeHead(200, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': body.length,
    'cache-control': 'no-cache, no-store, must-revalidate',
    pragma: 'no-cache',
    'builder-version': '2',
    swarm: 'inactive',
  });
  response.end(response.req.method === 'HEAD' ? undefined : body);
  return undefined;
}

async function showVersion({ host, signal, response }: Call) {
  const { architecture } = hostPlatform();
  const details = {
    ApiVersion: String(response.getHeader('api-version') ?? newestVersion),
    MinAPIVersion: host.minApiVersion ?? oldestVersion,
    Os: 'linux',
    Arch: architecture,
    KernelVersion: release(),
    GitCommit: '',
    GoVersion: '',
    BuildTime: '',
  };
  return {
    json: {
      Platform: { Name: 'Drydock' },
      Version: version,
      ...details,
      Components: [
        {
          Name: 'Engine',
          Version: version,
          Details: {
            ...details,
            Experimental: String(host.experimental === true),
            NodeVersion: process.version,
            Store: host.engine.store.kind,
          },
        },
        ...(host.behind === undefined ? [] : await engineComponents(host.behind, signal)),
      ],
    },
  };
}

async function info({ host, version: api, authority, signal }: Call) {
  const { store } = host.engine;
  const ours = await listedImages(store);
  const there = await imagesThere(seenBehind(host, authority), ours, { version: api, signal });
  const insecure = parseInsecure(host.insecureRegistries);
  // As dockerd tells them: whole URLs that end with a slash.
  const mirrors = host.registryMirrors.map(
    (mirror) => `${/^https?:/.test(mirror) ? '' : 'https://'}${mirror.replace(/\/*$/, '/')}`,
  );
  const containerd = store.kind === 'containerd';
  const json = {
    ID: machineId(),
    Containers: 0,
    ContainersRunning: 0,
    ContainersPaused: 0,
    ContainersStopped: 0,
    Images: ours.length + there.length,
    Driver: store.snapshotter === 'native' ? 'vfs' : containerd ? store.snapshotter : 'overlay2',
    // What clients take for "the containerd store is on".
    DriverStatus: containerd
      ? [['driver-type', 'io.containerd.snapshotter.v1']]
      : [
          ['Store', 'local'],
          ['Snapshotter', store.snapshotter],
        ],
    DockerRootDir: store.root,
    Plugins: { Volume: [], Network: ['bridge', 'host', 'null'], Authorization: null, Log: [] },
    MemoryLimit: true,
    SwapLimit: true,
    CpuCfsPeriod: true,
    CpuCfsQuota: true,
    CPUShares: true,
    CPUSet: true,
    PidsLimit: false,
    OomKillDisable: false,
    IPv4Forwarding: true,
    ...(isBefore(api, '1.50') ? { BridgeNfIptables: false, BridgeNfIp6tables: false } : {}),
    Debug: host.debug,
    NFd: readdirSync('/proc/self/fd').length,
    NGoroutines: 0,
    SystemTime: new Date().toISOString(),
    // What steps print goes to the client; dockerd's name for logs that are kept nowhere.
    LoggingDriver: 'none',
    CgroupDriver: 'cgroupfs',
    CgroupVersion: isCgroup2() ? '2' : '1',
    NEventsListener: 0,
    KernelVersion: release(),
    OperatingSystem: osName(),
    OSVersion: osRelease('VERSION_ID'),
    OSType: 'linux',
    Architecture: arch() === 'x64' ? 'x86_64' : arch() === 'arm64' ? 'aarch64' : arch(),
    IndexServerAddress: 'https://index.docker.io/v1/',
    RegistryConfig: {
      InsecureRegistryCIDRs: ['::1/128', '127.0.0.0/8', ...insecure.networks],
      IndexConfigs: Object.fromEntries(
        ['docker.io', ...insecure.hosts].map((name) => [
          name,
          {
            Name: name,
            Mirrors: name === 'docker.io' ? mirrors : [],
            Secure: name === 'docker.io',
            Official: name === 'docker.io',
          },
        ]),
      ),
      Mirrors: mirrors,
    },
    // Told since 1.46 and 1.50.
    ...(isBefore(api, '1.46') ? {} : { CDISpecDirs: host.engine.devices.specDirs }),
    ...(isBefore(api, '1.50') ? {} : { DiscoveredDevices: await discoveredDevices(host) }),
    NCPU: availableParallelism(),
    MemTotal: totalmem(),
    GenericResources: null,
    HttpProxy: '',
    HttpsProxy: '',
    NoProxy: '',
    Name: host.hostname,
    Labels: [],
    ExperimentalBuild: host.experimental === true,
    ServerVersion: version,
    Runtimes: { runc: { path: 'runc' } },
    DefaultRuntime: 'runc',
    Swarm: {
      NodeID: '',
      NodeAddr: '',
      LocalNodeState: 'inactive',
      ControlAvailable: false,
      Error: '',
      RemoteManagers: null,
    },
    LiveRestoreEnabled: false,
    Isolation: '',
    InitBinary: '',
    ContainerdCommit: { ID: '' },
    RuncCommit: { ID: '' },
    InitCommit: { ID: '' },
    SecurityOptions: securityOptions(host.engine, isBefore(api, '1.25')),
    ...(host.containerd === undefined || isBefore(api, '1.46')
      ? {}
      : {
          Containerd: {
            Address: host.containerd.address,
            Namespaces: { Containers: host.containerd.namespace, Plugins: '' },
          },
        }),
    Warnings: [
      ...(host.behind === undefined
        ? [
            'Drydock builds images and does not run containers: endpoints of the container runtime answer 501.',
          ]
        : []),
      ...(await machineLacks(host.engine.network)),
    ],
  };
  return { json: host.behind === undefined ? json : await mergedInfo(json, host.behind, signal) };
}

function machineId(): string {
  return read('/etc/machine-id').trim() || 'drydock';
}

function isCgroup2(): boolean {
  return read('/sys/fs/cgroup/cgroup.controllers') !== '';
}

function osName(): string {
  return osRelease('PRETTY_NAME') || 'Linux';
}

function osRelease(key: string): string {
  const match = new RegExp(`^${key}=(.*)$`, 'm').exec(read('/etc/os-release'));
  return (match?.[1] ?? '').replace(/^["']|["']$/g, '');
}

/** The text of a file; '' when it cannot be read. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** The devices that steps can have; undefined when there are none. */
async function discoveredDevices({ engine }: ApiHost): Promise<object[] | undefined> {
  const devices = await engine.devices.list();
  return devices.length === 0 ? undefined : devices.map(({ name }) => ({ Source: 'cdi', ID: name }));
}

/** What confines steps, in dockerd's words; `short` for clients before 1.25. */
function securityOptions({ rights, sandbox }: Pick<Engine, 'rights' | 'sandbox'>, short: boolean): string[] {
  const { apparmorProfile, selinux, seccompProfile } = rights;
  const names = [
    ...(apparmorProfile === undefined ? [] : ['apparmor']),
    'seccomp',
    ...(selinux ? ['selinux'] : []),
    ...(sandbox.usernsRemap ? ['userns'] : []),
    ...(rootlessUser() === undefined ? [] : ['rootless']),
  ];
  if (short) return names;
  return names.map((name) =>
    name === 'seccomp' ? `name=seccomp,profile=${seccompProfile ?? 'builtin'}` : `name=${name}`,
  );
}
