/** Makes the daemon's configuration from buildkitd's flags and its file. */
import { join } from 'node:path';
import type { BuildkitOptions } from '../api/index.ts';
import { entitlementNames, parseSnapshotter } from '../engine/index.ts';
import { fail, nearest } from '../errors/index.ts';
import { configFolder, inUserNamespace, rootlessProblem, runtimeFolder } from '../linux/index.ts';
import { daemonFolder } from './address.ts';
import type { BuildkitdConfig } from './buildkitd-config.ts';
import { gcRules } from './buildkitd-gc.ts';
import type { WorkerConfig } from './buildkitd-worker.ts';
import type { DaemonConfig } from './config.ts';

interface BuildkitdSetup {
  daemon: Omit<DaemonConfig, 'grpc' | 'writeLog'>;
  buildkit: BuildkitOptions;
}

/** Where buildkitd listens: in the folder of sockets, or under the root for a user who has no such folder. */
export function defaultAddress(root: string): string {
  const sockets = runtimeFolder();
  return `unix://${sockets === undefined ? join(daemonFolder(root), 'buildkitd.sock') : join(sockets, 'buildkit/buildkitd.sock')}`;
}

/**
 * Makes the configuration; `flags` win over `file`. Throws `invalid` when both workers are switched off, for an unknown
 * entitlement, for a certificate without its key, and for rootless settings of a process that is not.
 */
export function buildkitdSetup(
  flags: BuildkitdConfig,
  file: BuildkitdConfig,
  defaultRoot: string,
): BuildkitdSetup {
  const allowed = flags.entitlements ?? file.entitlements ?? [];
  for (const name of allowed) {
    if (entitlementNames.includes(name)) continue;
    throw fail('invalid', 'client', `invalid entitlement ${JSON.stringify(name)}`, {
      hint: `Did you mean ${nearest(name, entitlementNames) ?? entitlementNames.join(', ')}?`,
    });
  }
  const oci = { ...file.oci, ...given(flags.oci) };
  const containerd = { ...file.containerd, ...given(flags.containerd) };
  // As long as nobody asks for containerd, our own store is the worker, whether a containerd runs or not.
  const useContainerd = containerd.enabled === true && oci.enabled !== true;
  if (oci.enabled === false && !useContainerd) {
    throw fail(
      'invalid',
      'client',
      'no worker found: the OCI worker is switched off and the containerd worker is not on',
      {
        hint: 'Add --containerd-worker=true, or leave out --oci-worker=false.',
      },
    );
  }
  const kind = useContainerd ? 'containerd' : 'oci';
  const worker = useContainerd ? containerd : oci;
  checkRootless(worker, flags.rootless);
  const addresses = flags.addresses ?? file.addresses ?? [];
  const debug = flags.debug ?? file.debug ?? false;
  return {
    daemon: {
      root: flags.root ?? file.root ?? defaultRoot,
      replacesBuildkitd: true,
      hosts: addresses.length > 0 ? addresses : [defaultAddress(flags.root ?? file.root ?? defaultRoot)],
      group: flags.group ?? file.group,
      tls: tlsOf(flags.tls ?? file.tls),
      // buildkitd serves plain TCP to whoever asks for it; the listener takes it on loopback alone.
      insecureTcp: true,
      metricsAddress: flags.metricsAddress ?? file.metricsAddress,
      // Of Drydock's own setting (a variable) they are not.
      debugPages: flags.metricsAddress !== undefined || file.metricsAddress !== undefined,
      imageStore: useContainerd ? 'containerd' : 'local',
      containerdAddress: useContainerd ? containerd.address : undefined,
      containerdNamespace: useContainerd ? (containerd.namespace ?? 'buildkit') : undefined,
      snapshotter: snapshotterOf(worker.snapshotter),
      insecureRegistries: file.insecureRegistries,
      registryMirrors: file.registryMirrors,
      registryCertificates: file.registryCertificates,
      logLevel: debug ? 'debug' : (flags.logLevel ?? file.logLevel ?? 'info'),
      logFormat: flags.logFormat ?? file.logFormat,
      gc: gcRules(flags[kind]?.gc, file[kind]?.gc),
      maxParallelism: worker.maxParallelism,
      proxyNetwork: flags.proxyNetwork ?? file.proxyNetwork,
      network: { ...file[kind]?.network, ...flags[kind]?.network, dns: file.dns },
      ...(worker.binary !== undefined && { runtime: worker.binary }),
      cgroupParent: worker.cgroupParent,
      ...given({ apparmorProfile: worker.apparmorProfile, selinux: worker.selinux }),
      cdi: { ...file.cdi, ...given(flags.cdi) },
      noProcessSandbox: worker.noProcessSandbox,
      sharedCachePlace: file.sharedCachePlace,
      provenanceEnvDir: file.provenanceEnvDir ?? join(configFolder('buildkit'), 'provenance.d'),
    },
    buildkit: {
      entitlements: allowed,
      labels: {
        ...file[kind]?.labels,
        ...flags[kind]?.labels,
      },
      history: file.history,
      platforms: worker.platforms,
      frontends: file.frontends,
    },
  };
}

/** Rootless is how the process was started, and nothing that it can become by a setting. */
function checkRootless(worker: WorkerConfig, flag: boolean | undefined): void {
  if ((flag ?? worker.rootless) !== true || inUserNamespace()) return;
  throw fail('invalid', 'client', 'rootless mode needs to be run by a user who is not root', {
    hint: `Start it as that user: it makes its user namespace by itself. ${rootlessProblem()?.remedy ?? ''}`.trim(),
  });
}

function given<T extends object>(values: T | undefined): Partial<T> {
  return Object.fromEntries(
    Object.entries(values ?? {}).filter(([, value]) => value !== undefined),
  ) as Partial<T>;
}

function tlsOf(tls: BuildkitdConfig['tls']): DaemonConfig['tls'] {
  const { cert, key, ca } = tls ?? {};
  if (cert === undefined && key === undefined && ca === undefined) return undefined;
  if (cert === undefined || key === undefined) {
    throw fail('invalid', 'client', 'you must specify key and cert file if one is specified', {
      hint: 'Give both --tlscert and --tlskey.',
    });
  }
  return { cert, key, ca, requireCertificate: ca !== undefined };
}

function snapshotterOf(name: string | undefined): DaemonConfig['snapshotter'] {
  return name === undefined || name === '' ? 'auto' : parseSnapshotter(name);
}
